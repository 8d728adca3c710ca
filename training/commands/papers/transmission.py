"""Compare the ways to send a query: the bytes of each against the accuracy of its answer.

\b
    python -m training papers transmission --data DIR... --model models/mobilenet_v1_general.onnx

The ways are those of the survey (section 1.2): a scaled-down photo, local features as they are or
compressed, and hash bits; global features are added. The server ranks the whole database of the
set. --model computes all features and must be fp32. Writes the table and its plot, and keeps
finished runs in --out, like `papers handmade`, so the command resumes when it is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import click
import cv2
from rich.console import Console
from rich.progress import Progress

from training.cli import report_errors
from training.data.photo_sets import read_sets
from training.files import write_bytes
from training.papers.files import FinishedRuns
from training.papers.handmade.study import read_sides
from training.papers.rows import RESULTS, SEEDS, Row, Table, write_table
from training.papers.times import timed
from training.papers.transmission.plot import plot
from training.papers.transmission.study import Result, run_set

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "results" / "images"
_SOURCES = {
    "scaled-down JPEG": "Liu et al. 2017, section 1.2: scaled-down images",
    "raw SIFT": "Lowe 2004, IJCV",
    "SIFT of 4 levels, entropy-coded": "Liu et al. 2017, section 1.2: compressed features",
    "SIFT by product quantization": "Jegou et al. 2011, IEEE TPAMI",
    "bag of hash bits (VHB)": "He et al. 2012, CVPR",
    "global features": "features of the model, not in the survey",
    "hash bits": "Liu et al. 2017, section 1.2: hashing",
    "hash bits, progressive": "Liu et al. 2017, section 1.2: hashing",
}
_MEASURE = "P@1 (%)"
_ONE = "deterministic"
_NOTES = (
    "Bytes are those of the query alone, without those of a connection. JPEG bytes have the file's"
    " own header and tables, about 600 bytes.",
    "Every way is answered by the same network or the same kind of index of local features, so the"
    " rows differ only in what is sent. Local features and their bits are ranked by votes, so their"
    " places are not sent. For quantized descriptors, the server hashes its own ones after"
    " the same quantization.",
    "Hash bits are fitted to the labeled database, as the runtime fits them to a gallery. The other"
    " ways do not use the labels.",
)


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--model", type=Path, required=True, help="An fp32 hash model with features.")
@click.option("--queries", type=click.IntRange(1), default=300, show_default=True,
              help="Queries of a set that are sent, drawn at random.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True)
@click.option("--out", type=Path, default=Path("build/papers/handmade"), show_default=True)
@click.option(
    "--results", "folder", type=Path, default=RESULTS, show_default="training/results/papers"
)
@click.option("--images", type=Path, default=IMAGES, show_default="docs/results/images")
@report_errors
@timed("transmission", "transmission.jsonl")
def main(
    data: tuple[Path, ...],
    model: Path,
    queries: int,
    seeds: int,
    out: Path,
    folder: Path,
    images: Path,
) -> None:
    """Run the command."""
    cv2.setNumThreads(1)
    finished = FinishedRuns(out / "transmission.jsonl")
    sets = read_sides(read_sets(data))
    panels: dict[str, list[Row]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for sides in progress.track(sets, description="ways to send a query"):
            found = run_set(sides, model, range(1, seeds + 1), queries, out, finished)
            panels[sides.name] = [_row(sides.name, results) for results in found]
    described = "; ".join(
        f"{sides.name}: {len(sides.database)} photos, {min(queries, len(sides.queries))} of"
        f" {len(sides.queries)} queries ({sides.split}, SHA-256 {sides.digest[:12]})"
        for sides in sets
    )
    command = " ".join(
        ["python -m training papers transmission", *(f"--data {each}" for each in data),
         f"--model {model} --queries {queries} --seeds {seeds}"]
    )  # fmt: skip
    rows = [row for own in panels.values() for row in own]
    path = write_table("transmission", Table(command, described, rows, _NOTES), folder)
    write_bytes(images / "transmission.svg", plot(panels, _MEASURE))
    click.echo(f"{path}: {len(rows)} rows; {images / 'transmission.svg'}")


def _row(name: str, results: Sequence[Result]) -> Row:
    """Return the row of one way in one setting; `results` has one entry per seed."""
    first, reason = results[0], ""
    if first["way"] in ("scaled-down JPEG", "global features"):
        reason = _ONE
    elif len(results) < SEEDS:
        reason = f"{len(results)} of {SEEDS} seeds were run"
    return Row(
        system=first["way"],
        source=_SOURCES[first["way"]],
        setting=f"{name}, {first['setting']}",
        measure=_MEASURE,
        values=tuple(round(each["p1"], 2) for each in results),
        one_seed_reason=reason,
        extra={
            "bytes_per_query": first["bytes"],
            "MAP@100 (%)": round(mean(each["map100"] for each in results), 2),
        },
    )
