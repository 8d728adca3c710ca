"""Run hashing methods on CIFAR-10 by the survey's protocol (its Table 2).

\b
    python -m training papers cifar10 --data DIR --weights NPZ
    python -m training papers cifar10 --data DIR --weights NPZ --methods dpsh,dhn --bits 48
    python -m training papers cifar10 --data DIR --weights NPZ --only-finished

DIR is the official folder cifar-10-batches-py, or a tree train/CLASS/ and test/CLASS/ of pictures.
Features and finished runs are kept in --out, and an interrupted command continues from there.
The full table is written to training/results/papers/cifar10.json; with fewer methods, lengths or
seeds, or with --validation, --size or --tiny, to --out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from training.cli import log, report_errors
from training.determinism import set_determinism
from training.options import parse_lengths
from training.papers.cifar10.features import SIZE, VIEWS, load_material
from training.papers.cifar10.images import open_images
from training.papers.cifar10.runs import Plan, run_all
from training.papers.cifar10.split import split_images
from training.papers.cifar10.systems import choose_systems
from training.papers.cifar10.table import table
from training.papers.files import FinishedRuns
from training.papers.rows import RESULTS, SEEDS, write_table
from training.papers.times import timed

LENGTHS = "12,24,32,48"
COMMAND = "python -m training papers cifar10 --data DIR --weights NPZ"
_TINY = Plan({}, (12,), (1,), epochs=2)
_TINY_SIZE, _TINY_VIEWS = 64, 1


@click.command(help=__doc__)
@click.option("--data", type=Path, required=True, help="Folder of CIFAR-10.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option("--methods", default="", help="Names, separated by commas.  [default: all]")
@click.option("--bits", default=LENGTHS, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True,
              help="Seeds per row, from 1.")  # fmt: skip
@click.option("--validation", is_flag=True, help="Judge on validation images, to choose settings.")
@click.option("--size", type=click.IntRange(32), default=SIZE, show_default=True,
              help="Side in pixels to which an image is scaled.")  # fmt: skip
@click.option("--tiny", is_flag=True, help="One seed, 12 bits, 2 epochs, small pictures.")
@click.option("--only-finished", is_flag=True, help="Train nothing; write what is finished.")
@click.option("--out", type=Path, default=Path("build/papers/cifar10"), show_default=True)
@click.option("--results", type=Path, help="Folder of a table of any size.  [default: see above]")
@report_errors
@timed("cifar10")
def main(
    data: Path,
    weights: Path,
    methods: str,
    bits: str,
    seeds: int,
    validation: bool,
    size: int,
    tiny: bool,
    only_finished: bool,
    out: Path,
    results: Path | None,
) -> None:
    """Run the command."""
    set_determinism(1, threads=1)
    chosen = choose_systems(methods)
    plan = Plan(chosen, parse_lengths(bits), range(1, seeds + 1), validation)
    if tiny:
        plan = replace(_TINY, systems=chosen, validation=validation)
    images = open_images(data)
    split = split_images(images, data)
    usual = size == SIZE
    size, views = (_TINY_SIZE, _TINY_VIEWS) if tiny else (size, VIEWS)
    material = load_material(images, split, weights, out, size, views)
    finished = FinishedRuns(out / "runs.jsonl")
    if not only_finished:
        run_all(plan, material, finished)
    full = not (methods or tiny or validation) and bits == LENGTHS and seeds == SEEDS and usual
    result = table(plan, material, finished, COMMAND)
    folder = results or (RESULTS if full else out)
    log(f"written: {write_table('cifar10', result, folder)}")
