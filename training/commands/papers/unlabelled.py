"""Judge codes fitted to photos without labels beside the shipped code and supervised ones.

\b
    python -m training papers unlabelled --data DIR... --out build/papers/unlabelled

The labels of each set are hidden from the fit and used only to judge: P@1 and MAP@100 of the set's
own split. Three seeds; features and finished runs are kept in --out, so that a killed command
resumes when it is repeated.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import report_errors
from training.options import BITS
from training.papers.rows import RESULTS, Table, write_table
from training.papers.times import timed
from training.papers.unlabelled import Study, rows_of, study_set


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of labelled photos.")
@click.option("--model", type=Path, default=Path("models/mobilenet_v1_general.onnx"),
              show_default=True, help="Model whose features are hashed.")  # fmt: skip
@click.option("--out", type=Path, default=Path("build/papers/unlabelled"), show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result file.")
@click.option("--bits", type=BITS, default=64, show_default=True)
@click.option("--views", default=1, show_default=True, help="Augmented views per photo.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--epochs", default=60, show_default=True, type=click.IntRange(1))
@click.option("--only-finished", is_flag=True, help="Fit nothing; write what is finished.")
@report_errors
@timed("unlabelled")
def main(
    data: tuple[Path, ...], model: Path, out: Path, results: Path, bits: int, views: int,
    seeds: int, epochs: int, only_finished: bool,
) -> None:  # fmt: skip
    """Run the command."""
    study = Study(
        model, bits, views, epochs, tuple(range(1, seeds + 1)), only_finished=only_finished
    )
    rows = [
        row
        for folder in data
        for method, found in study_set(folder, study, out)
        for row in rows_of(folder.name, bits, method, found)
    ]
    names = ", ".join(folder.name for folder in data)
    options = " ".join(f"--data ../shared/data/{folder.name}" for folder in data)
    table = Table(
        command=f"python -m training papers unlabelled {options}",
        data=f"{names}; the set's own split of gallery and queries, or a contiguous fifth of each"
        " label held out where it has none. Labels are hidden from the fits without labels.",
        rows=rows,
        notes=(
            f"Features of {model.name}. They were trained with labels of grocery and ie_tower, so"
            " only objects is new to them.",
            f"Trained methods see {views} augmented view(s) of each photo beside the photo,"
            f" {epochs} epochs.",
        ),
    )
    click.echo(write_table("unlabelled", table, results))
