"""Train the small AlexNet-shaped network that DLBH and SSDH are judged on.

\b
    python -m training papers alexnet --data ../shared/data --weights NPZ --more build/cifar10/train

It learns to describe photos as MobileNet-v1 with its ImageNet weights does; labels are not used.
The photos are those that the sets of --data do not query, and --count photos of the folders
--more, evenly spread. The network is OUT/alexnet.pt. The same command resumes a run that was
interrupted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from training.cli import log, report_errors
from training.data.photo_sets import read_set, read_sets, sample_evenly
from training.data.pixel_cache import open_cache
from training.data.splits import default_split
from training.determinism import set_determinism
from training.fit.recipe import parse_stages
from training.models.alexnet import layers, save_network
from training.papers.rows import RESULTS
from training.papers.table3.pretraining import (
    HIDDEN,
    RECIPE,
    SIDE,
    mirrored,
    pretrain,
)
from training.papers.times import keep_time, timed

MEGA = 1e6


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights of MobileNet-v1.")
@click.option("--more", multiple=True, type=Path, help="More photos, a sub-folder per label.")
@click.option("--count", type=click.IntRange(1), default=3000, show_default=True,
              help="Photos of each folder --more.")  # fmt: skip
@click.option("--places", default="ie_tower", show_default=True,
              help="Comma-separated sets whose photos are not mirrored.")  # fmt: skip
@click.option("--stages", default=f"{SIDE}x6", show_default=True, help="Pixels x epochs.")
@click.option("--hidden", type=click.IntRange(8), default=HIDDEN, show_default=True,
              help="Units of the two fully connected layers; 4096 in the original.")  # fmt: skip
@click.option("--width", type=click.FloatRange(0.05, 1), default=1.0, show_default=True,
              help="Share of the original's channels.")  # fmt: skip
@click.option("--batch", type=click.IntRange(2), default=RECIPE.batch, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--out", type=Path, default=Path("build/papers/alexnet"), show_default=True)
@click.option("--results", type=Path, default=RESULTS, help="Folder of the time that it takes.")
@report_errors
@timed("alexnet")
def main(
    data: tuple[Path, ...],
    weights: Path,
    more: tuple[Path, ...],
    count: int,
    places: str,
    stages: str,
    hidden: int,
    width: float,
    batch: int,
    threads: int,
    out: Path,
    results: Path,
) -> None:
    """Run the command."""
    set_determinism(RECIPE.seed, threads)
    photos, _, _ = default_split(read_sets(data))
    for folder in more:
        photos = photos + sample_evenly(read_set(folder), count)
    recipe = replace(RECIPE, stages=parse_stages(stages), batch=batch)
    recipe = mirrored(recipe, photos, frozenset(places.split(",")))
    cache = open_cache(photos)
    log(f"{len(cache)} photos, {recipe.epochs} epochs")
    network = pretrain(cache, weights, out, recipe, width, hidden)
    save_network(out / "alexnet.pt", network)
    keep_time(results)
    size = sum(layer.parameters for layer in layers(network, 1000))
    log(f"done: {out / 'alexnet.pt'}, {size / MEGA:.1f} million parameters with 1000 outputs")
