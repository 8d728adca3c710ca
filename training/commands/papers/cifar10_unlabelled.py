"""Run hashing methods that need no labels on CIFAR-10, in the framework of the survey's Table 2.

\b
    python -m training papers cifar10-unlabelled --data DIR --weights NPZ
    python -m training papers cifar10-unlabelled --data DIR --weights NPZ --only-finished

DIR is as for `papers cifar10`, and so is --out: both commands share the stored features. A command
that was interrupted continues where it stopped. --only-finished trains nothing and writes what is
there.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import log, report_errors
from training.determinism import set_determinism
from training.options import parse_lengths
from training.papers.cifar10.features import SIZE, VIEWS, load_material
from training.papers.cifar10.images import open_images
from training.papers.cifar10.runs import Plan, run_all
from training.papers.cifar10.split import split_images
from training.papers.cifar10.unlabelled import EPOCHS, HIDDEN, SYSTEMS, rows
from training.papers.files import FinishedRuns
from training.papers.rows import RESULTS, SEEDS, Table, write_table
from training.papers.times import timed

COMMAND = "python -m training papers cifar10-unlabelled --data DIR --weights NPZ"
_TINY_SIZE, _TINY_VIEWS, _TINY_EPOCHS = 64, 1, 2


@click.command(help=__doc__)
@click.option("--data", type=Path, required=True, help="Folder of CIFAR-10.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option("--bits", default="12,24,32,48", show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True)
@click.option("--tiny", is_flag=True, help="2 epochs, small pictures, one augmented view.")
@click.option("--only-finished", is_flag=True, help="Train nothing; write what is finished.")
@click.option("--out", type=Path, default=Path("build/papers/cifar10"), show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the result file.")
@report_errors
@timed("cifar10-unlabelled", "unlabelled.jsonl")
def main(
    data: Path, weights: Path, bits: str, seeds: int, tiny: bool, only_finished: bool, out: Path,
    results: Path,
) -> None:  # fmt: skip
    """Run the command."""
    set_determinism(1, threads=1)
    epochs = _TINY_EPOCHS if tiny else None
    plan = Plan(SYSTEMS, parse_lengths(bits), range(1, seeds + 1), epochs=epochs)
    images = open_images(data)
    split = split_images(images, data)
    size, views = (_TINY_SIZE, _TINY_VIEWS) if tiny else (SIZE, VIEWS)
    material = load_material(images, split, weights, out, size, views)
    finished = FinishedRuns(out / "unlabelled.jsonl")
    if not only_finished:
        run_all(plan, material, finished)
    table = Table(
        COMMAND,
        f"CIFAR-10 ({material.kind}), split I of CNNH, DNNH and DPSH: {len(split.queries):,}"
        f" queries, a database of the other {len(split.database):,} images,"
        f" {len(split.training):,} of which are fitted to, without their labels.",
        rows(plan, material, finished),
        (
            "The same stored features, views, batches and ranking as in the table of the supervised"
            f" methods; {EPOCHS.epochs} epochs, with a layer of {HIDDEN} units below the code where"
            " a method works with any, and one training for each length.",
            "UH-BDNN was published with neighbors by Euclidean distance as the truth, not labels,"
            " so its figures cannot stand beside these.",
        ),
    )
    log(f"written: {write_table('cifar10_unlabelled', table, results)}")
