"""Judge the hand-made systems VHB and SSFS beside global features and hash networks.

\b
    python -m training papers handmade --data DIR... --model models/mobilenet_v1_general.onnx
        --model models/mobilenet_v1_general_int8.onnx

The queries of each set are ranked against its database, by the split of `evaluate`. What is
computed of the photos, and each finished run, is kept in the folder --out, so the command resumes
when it is repeated. The CPU times hold for this machine, with one thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import cv2
from rich.console import Console
from rich.progress import Progress

from training.cli import report_errors
from training.data.photo_sets import read_sets
from training.papers.files import FinishedRuns
from training.papers.handmade.study import read_sides, run_global, run_network, run_systems
from training.papers.handmade.table import rows_of
from training.papers.rows import RESULTS, SEEDS, Row, Table, write_table
from training.papers.times import timed

_ONE = "deterministic"
_NOTES = (
    "ms_per_query is the CPU time of computing a query, with one thread, on the machine that made"
    " this table; search_ms that of the search, all steps of a system together.",
    "The settings of VHB were chosen on photos of ie_tower's database, held out of it; those of"
    " SSFS were not tuned. Two features match if they differ in so few bits that a stored feature"
    " has about 0.3 matches in other photos. This rule uses the database alone, but it was added"
    " after a first run on the new objects had found almost no matches.",
    "The times are not a benchmark: other programs may have run at the same time.",
)


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--model", "models", multiple=True, type=Path, help="ONNX hash models to compare.")
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True)
@click.option("--out", type=Path, default=Path("build/papers/handmade"), show_default=True)
@click.option(
    "--results", "folder", type=Path, default=RESULTS, show_default="training/results/papers"
)
@report_errors
@timed("handmade")
def main(
    data: tuple[Path, ...], models: tuple[Path, ...], seeds: int, out: Path, folder: Path
) -> None:
    """Run the command."""
    cv2.setNumThreads(1)
    rows: list[Row] = []
    finished = FinishedRuns(out / "runs.jsonl")
    numbers = range(1, seeds + 1)
    sets = read_sides(read_sets(data))
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("hand-made systems", total=len(sets) * (2 + len(models)))
        for sides in sets:
            name = sides.name
            for label, results in run_systems(sides, numbers, out, finished).items():
                system, stage = label.split(": ")
                rows += rows_of(system, f"{name}, {stage}", results)
            progress.advance(task)
            one, codes = run_global(sides, numbers, out)
            rows += rows_of("global features", f"{name}, {one[0]['stage']}", one, _ONE)
            rows += rows_of("global features", f"{name}, {codes[0]['stage']}", codes)
            progress.advance(task)
            for model in models:
                result: dict[str, Any] = run_network(model, sides, out)
                rows += rows_of(result["stage"], f"{name}, {result['bits']} bits", [result], _ONE)
                progress.advance(task)
    described = "; ".join(
        f"{sides.name}: {len(sides.database)} photos, {len(sides.queries)} queries"
        f" ({sides.split}, SHA-256 {sides.digest[:12]})"
        for sides in sets
    )
    command = " ".join(
        ["python -m training papers handmade", *(f"--data {each}" for each in data),
         *(f"--model {each}" for each in models), f"--seeds {seeds}"]
    )  # fmt: skip
    path = write_table("handmade", Table(command, described, rows, _NOTES), folder)
    click.echo(f"{path}: {len(rows)} rows")
