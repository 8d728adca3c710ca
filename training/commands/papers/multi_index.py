"""Compare the ways to divide the bits of codes in multi-index hashing (HDIdx).

\b
    python -m training papers multi-index --data DIR... --model models/mobilenet_v1_general.onnx

The codes of the databases of all sets are searched for the nearest codes of their queries. Larger
galleries add copies whose bits are changed at random. Features are kept in --out, those of `papers
unlabelled` are used, and a command that was killed continues when it is repeated.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import log, report_errors
from training.papers.files import FinishedRuns
from training.papers.multi_index import NEIGHBORS, NOISE, codes_of, run_all
from training.papers.rows import RESULTS, SEEDS, Table, write_table
from training.papers.times import timed

GALLERIES = (20_000, 200_000)


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--model", type=Path, default=Path("models/mobilenet_v1_general.onnx"),
              show_default=True, help="Model whose codes are searched.")  # fmt: skip
@click.option("--most", type=click.IntRange(1), default=max(GALLERIES), show_default=True,
              help="Codes of the largest gallery.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True,
              help="Random divisions.")  # fmt: skip
@click.option("--out", type=Path, default=Path("build/papers/unlabelled"), show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result file.")
@report_errors
@timed("multi-index", "multi_index.jsonl")
def main(
    data: tuple[Path, ...], model: Path, most: int, seeds: int, out: Path, results: Path
) -> None:
    """Run the command."""
    stored, asked, bits = codes_of(data, model, out)
    sizes = sorted({min(each, most) for each in (len(stored), *GALLERIES)})
    finished = FinishedRuns(out / "multi_index.jsonl")
    rows = run_all(stored, asked, bits, sizes, seeds, finished)
    shown = " ".join(f"--data {folder}" for folder in data)
    table = Table(
        f"python -m training papers multi-index {shown} --model {model}",
        f"{', '.join(folder.name for folder in data)}: {len(stored):,} codes of {bits} bits are"
        f" searched for the {NEIGHBORS} nearest of each of {len(asked):,} queries (the sets' own"
        " splits, or a contiguous fifth of each label held out where there is none)",
        rows,
        (
            f"Larger galleries add copies of the codes, each bit changed with a chance of {NOISE}.",
            "Every division gives the same exact neighbors. Candidates are the codes that are"
            " compared with a query: fewer are better. The runtime's index divides as HDIdx does.",
            "The times are not a benchmark: other programs may have run at the same time.",
        ),
    )
    log(f"written: {write_table('multi_index', table, results)}")
