"""Search the settings of the methods of `papers cifar10`, on images apart from the queries.

\b
    python -m training papers cifar10-search --data DIR --weights NPZ
    python -m training papers cifar10-search --data DIR --weights NPZ --methods dpsh,dhn

Tries four settings of each method, with one seed and 32 bits. DIR is as for `papers cifar10`, and
so is --out: both commands share the stored features. An interrupted command continues where
it stopped. The full table is written to training/results/papers/cifar10_search.json; with fewer
methods or --tiny, to --out. The settings in use are those of training/papers/cifar10/systems.py.
"""

from __future__ import annotations

from pathlib import Path

import click

from training.cli import log, report_errors
from training.determinism import set_determinism
from training.papers.cifar10.features import SIZE, VIEWS, load_material
from training.papers.cifar10.images import open_images
from training.papers.cifar10.runs import run_all
from training.papers.cifar10.search import faster, plan, sampled, table
from training.papers.cifar10.split import split_images
from training.papers.cifar10.systems import choose_systems
from training.papers.files import FinishedRuns
from training.papers.rows import RESULTS, write_table
from training.papers.times import timed

COMMAND = "python -m training papers cifar10-search --data DIR --weights NPZ"
_TINY_SIZE, _TINY_VIEWS, _TINY_EPOCHS = 64, 1, 2


@click.command(help=__doc__)
@click.option("--data", type=Path, required=True, help="Folder of CIFAR-10.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option("--methods", default="", help="Names, separated by commas.  [default: all]")
@click.option("--tiny", is_flag=True, help="2 epochs, small pictures, one augmented view.")
@click.option("--out", type=Path, default=Path("build/papers/cifar10"), show_default=True)
@click.option("--results", type=Path, help="Folder of a table of any size.  [default: see above]")
@report_errors
@timed("cifar10-search", "search.jsonl")
def main(
    data: Path, weights: Path, methods: str, tiny: bool, out: Path, results: Path | None
) -> None:
    """Run the command."""
    set_determinism(1, threads=1)
    tried = plan(tuple(choose_systems(methods)), epochs=_TINY_EPOCHS if tiny else None)
    images = open_images(data)
    split = split_images(images, data)
    size, views = (_TINY_SIZE, _TINY_VIEWS) if tiny else (SIZE, VIEWS)
    material = sampled(load_material(images, split, weights, out, size, views))
    finished = FinishedRuns(out / "search.jsonl")
    run_all(tried, material, finished)
    tried = faster(tried, material, finished)
    run_all(tried, material, finished)
    result = table(tried, material, finished, COMMAND)
    folder = results or (out if methods or tiny else RESULTS)
    log(f"written: {write_table('cifar10_search', result, folder)}")
