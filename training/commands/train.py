"""The training command.

    python -m training train --data DIR... --weights NPZ --out build/train/NAME

Trains the backbone end to end on the sets' train, val and gallery photos; then
`python -m training build-model --checkpoint build/train/NAME/checkpoint.pt` fits the shipped hash layer.
With `--method teacher --weights efficientnet-lite2-9656183e.pth` it tunes a larger network, whose
answers `--method distilled --teacher FILE` then learns. A run that was killed goes on with the
same command.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np

from edge_runtime.errors import InputError
from training.cli import log, report_errors
from training.commands.options import BITS
from training.data.photo_sets import Photo, label_indices, read_sets, require_labels, warnings_about
from training.data.pixel_cache import open_cache
from training.data.splits import (
    HOLD_OUT,
    QUERY_SPLITS,
    TRAIN_SPLITS,
    hold_out,
    save_split,
)
from training.determinism import set_determinism
from training.eval.html_report import plot_log
from training.fit.recipe import Recipe, parse_stages
from training.fit.run_dir import load_head, load_initial_network, load_teachers
from training.fit.trainer import AUGMENTATIONS, train
from training.methods import SUPERVISED
from training.models.checkpoint import digests
from training.models.efficientnet_lite2 import Lite2
from training.models.mobilenet_v1 import Backbone

PART = click.FloatRange(0, 1, max_open=True)


def mirrored(names: Iterable[str], photos: Iterable[Photo]) -> tuple[str, ...]:
    """The sets `names`, each once; raises InputError for one that none of `photos` is of."""
    known = sorted({photo.source for photo in photos})
    for name in names:
        if name not in known:
            raise InputError(
                f'no set "{name}"', where="--mirror", remedy=f"known: {', '.join(known)}"
            )
    return tuple(sorted(set(names)))


def first_network(
    weights: Path | None, start: Path | None, width: float | None
) -> Backbone | Lite2:
    """What is trained; raises click.UsageError unless it is exactly one of the three."""
    if width is None:
        return load_initial_network(weights, start)
    if weights or start:
        raise click.UsageError("--width trains from scratch: give neither --weights nor --start")
    return Backbone(width)


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option(
    "--weights", type=Path, help="ImageNet arrays to start from (.npz; a teacher's .pth)."
)
@click.option("--start", type=Path, help="A checkpoint.pt to start from.")
@click.option(
    "--teacher", multiple=True, type=Path, help="Teachers' checkpoint.pt, for --method distilled."
)
@click.option("--out", type=Path, required=True, help="The run's folder.")
@click.option("--method", type=click.Choice(sorted(SUPERVISED)), default="joint", show_default=True)
@click.option(
    "--width",
    type=click.FloatRange(0.1, 1.0),
    help="Multiplier of the channels, 0.5 say: trains from scratch, with no --weights or --start,"
    " for the ImageNet weights are of width 1.",
)
@click.option("--bits", type=BITS, default=64, show_default=True)
@click.option(
    "--stages", default="160x16,192x18,224x10", show_default=True, help="Pixels x epochs."
)
@click.option(
    "--optimiser", type=click.Choice(["adamw", "sgd"]), default="adamw", show_default=True
)
@click.option("--batch", type=click.IntRange(2), default=32, show_default=True, help="Photos.")
@click.option("--rate", type=click.FloatRange(0), default=0.001, show_default=True)
@click.option("--warmup", type=PART, default=0.05, show_default=True,
              help="Share of the steps in which the rate rises from nothing.")  # fmt: skip
@click.option(
    "--decay", type=click.FloatRange(0), default=0.05, show_default=True, help="Weight decay."
)
@click.option("--mixed", type=click.FloatRange(0, 1), default=0.2, show_default=True,
              help="Share of mixup/cutmix batches.")  # fmt: skip
@click.option("--average", type=PART, default=0.998, show_default=True,
              help="Decay of averaged weights.")  # fmt: skip
@click.option("--dropout", type=PART, default=0.1, show_default=True)
@click.option(
    "--frozen",
    type=click.IntRange(0),
    help="Units that are not trained.  [default: 7; from scratch 0]",
)
@click.option(
    "--augmentation", type=click.Choice(sorted(AUGMENTATIONS)), default="strong", show_default=True
)
@click.option(
    "--mirror",
    multiple=True,
    metavar="SET",
    help="A set, by its folder's name, whose photos are seen mirrored too; not where left differs"
    " from right: places, text.",
)
@click.option(
    "--hold",
    type=click.Choice(["none", *HOLD_OUT]),
    default="none",
    show_default=True,
    help="How a fifth is held out.",
)
@click.option("--hold-seed", type=click.IntRange(0), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@report_errors
def main(
    data: tuple[Path, ...],
    weights: Path | None,
    start: Path | None,
    teacher: tuple[Path, ...],
    out: Path,
    method: str,
    width: float | None,
    bits: int,
    stages: str,
    optimiser: str,
    batch: int,
    rate: float,
    warmup: float,
    decay: float,
    mixed: float,
    average: float,
    dropout: float,
    frozen: int | None,
    augmentation: str,
    mirror: tuple[str, ...],
    hold: str,
    hold_seed: int,
    seed: int,
) -> None:
    """Command: see the module."""
    set_determinism(seed)
    if (method == "distilled") != bool(teacher):
        raise click.UsageError("--method distilled and --teacher go together")
    shapes = parse_stages(stages)
    backbone = first_network(weights, start, width)
    everything = read_sets(data)
    photos = [photo for photo in everything if photo.split in TRAIN_SPLITS]
    queries = [photo for photo in everything if photo.split in QUERY_SPLITS]
    require_labels(photos, 2, data[0])
    flipped = mirrored(mirror, photos)
    for line in warnings_about(photos):
        log(f"note: {line}")
    kept, validation = hold_out(photos, hold, hold_seed)
    save_split(out / "split.csv", hold, {"train": kept, "validation": validation, "query": queries})
    cache = open_cache(kept)
    for line in cache.skipped:
        log(f"skipped {line}")
    require_labels(cache.photos, 2, data[0])
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
    recipe = Recipe(
        method=method, bits=bits, stages=shapes, batch=batch,
        optimiser=optimiser, rate=rate, decay=decay, warmup=warmup, mixed=mixed,
        average=average, dropout=dropout, flip_sources=flipped,
        frozen=(0 if width else 7) if frozen is None else frozen,
        augmentation=augmentation, seed=seed,
    )  # fmt: skip
    log(f"{len(cache)} photos of {len(index)} labels, {recipe.epochs} epochs")
    names = list(index)
    head = load_head(start, names) if start else None
    taught = load_teachers(teacher, names) if teacher else None
    inputs = digests(cache.photos, weights or start, teacher)
    train(cache, labels, names, backbone, recipe, out, head=head, teacher=taught, inputs=inputs)
    plot_log(out / "log.csv", out / "log.png")
    log(f"done: {out / 'checkpoint.pt'}, its course in {out / 'log.png'}")
