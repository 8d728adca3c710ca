"""Train the backbone end to end with a hashing method.

\b
    python -m training train --data DIR... --weights NPZ --out build/train/NAME

Trains on the train, val and gallery photos of the sets and writes a checkpoint after every epoch.
The same command resumes a run that was interrupted. Then
`python -m training build-model --checkpoint build/train/NAME/checkpoint.pt` fits the hash layer.

`--method teacher --weights efficientnet-lite2-9656183e.pth` fine-tunes a larger network;
`--method distilled --teacher FILE` then learns from its outputs.

To learn labels without forgetting the world, `--preserve` holds the features near those of the
first weights, and `--head-first`, `--features-rate` and `--kept-norms` train them later and less.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np

from edge_runtime.errors import InputError
from training.cli import log, report_errors
from training.data.photo_sets import Photo, label_indices, read_sets, require_labels, warnings_about
from training.data.pixel_cache import open_cache
from training.data.splits import (
    HOLD_OUT,
    QUERY_SPLITS,
    TRAIN_SPLITS,
    hold_out,
    save_split,
)
from training.determinism import THREADS, set_determinism
from training.eval.html_report import plot_log
from training.fit.recipe import Recipe, parse_stages
from training.fit.run_dir import load_head, load_initial_network, load_teachers
from training.fit.trainer import AUGMENTATIONS, train
from training.methods import SUPERVISED
from training.models.checkpoint import digests
from training.models.efficientnet_lite2 import Lite2
from training.models.mobilenet_v1 import Backbone
from training.options import BITS

PART = click.FloatRange(0, 1, max_open=True)


def known_sets(names: Iterable[str], photos: Iterable[Photo]) -> tuple[str, ...]:
    """Return the sorted set names without duplicates; raises InputError for an unknown set."""
    known = sorted({photo.source for photo in photos})
    for name in names:
        if name not in known:
            raise InputError(
                f'unknown set "{name}"', where="--mirror", remedy=f"known: {', '.join(known)}"
            )
    return tuple(sorted(set(names)))


def initial_network(
    weights: Path | None, start: Path | None, width: float | None
) -> Backbone | Lite2:
    """Load or create the network to train; raises click.UsageError unless one source is given."""
    if width is None:
        return load_initial_network(weights, start)
    if weights or start:
        raise click.UsageError("--width trains from scratch: give neither --weights nor --start")
    return Backbone(width)


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option(
    "--weights", type=Path, help="ImageNet weights to start from: .npz, or .pth for a teacher."
)
@click.option("--start", type=Path, help="A checkpoint.pt to start from, including its head.")
@click.option(
    "--teacher",
    multiple=True,
    type=Path,
    help="The checkpoint.pt of a teacher, for --method distilled; may be repeated.",
)
@click.option("--out", type=Path, required=True, help="Folder of the run.")
@click.option("--method", type=click.Choice(sorted(SUPERVISED)), default="joint", show_default=True)
@click.option(
    "--width",
    type=click.FloatRange(0.1, 1.0),
    help="Channel multiplier such as 0.5. Trains from scratch, without --weights or --start:"
    " the ImageNet weights have width 1.",
)
@click.option("--bits", type=BITS, default=64, show_default=True)
@click.option(
    "--stages", default="160x16,192x18,224x10", show_default=True, help="Pixels x epochs."
)
@click.option(
    "--optimizer", type=click.Choice(["adamw", "sgd"]), default="adamw", show_default=True
)
@click.option(
    "--batch", type=click.IntRange(2), default=32, show_default=True, help="Photos per batch."
)
@click.option("--rate", type=click.FloatRange(0), default=0.001, show_default=True)
@click.option("--warmup", type=PART, default=0.05, show_default=True,
              help="Share of the steps in which the learning rate rises from zero.")  # fmt: skip
@click.option(
    "--decay", type=click.FloatRange(0), default=0.05, show_default=True, help="Weight decay."
)
@click.option("--preserve", type=click.FloatRange(0), default=0.0, show_default=True,
              help="Weight of the distance of the features from those of --weights.")  # fmt: skip
@click.option("--head-first", type=click.IntRange(0), default=0, show_default=True,
              help="Epochs at the start that train the method's own layers alone.")  # fmt: skip
@click.option("--features-rate", type=click.FloatRange(0), default=1.0, show_default=True,
              help="Learning rate of the features, as a share of --rate.")  # fmt: skip
@click.option("--kept-norms", is_flag=True,
              help="Keep the means and variances of the batch norms as they are.")  # fmt: skip
@click.option("--stored-views", type=click.IntRange(0), default=0, show_default=True,
              help="Views per photo whose maps after the frozen units are computed once and stored;"
              " 0 augments again in each epoch. Needs --frozen and a single size.")  # fmt: skip
@click.option("--mixed", type=click.FloatRange(0, 1), default=0.2, show_default=True,
              help="Share of batches with mixup or CutMix.")  # fmt: skip
@click.option("--average", type=PART, default=0.998, show_default=True,
              help="Decay of the moving average of the weights.")  # fmt: skip
@click.option("--dropout", type=PART, default=0.1, show_default=True)
@click.option(
    "--frozen",
    type=click.IntRange(0),
    help="Units that are not trained.  [default: 7, or 0 from scratch]",
)
@click.option(
    "--augmentation", type=click.Choice(sorted(AUGMENTATIONS)), default="strong", show_default=True
)
@click.option(
    "--mirror",
    multiple=True,
    metavar="SET",
    help="Name of a set whose photos are also mirrored; may be repeated. Not for sets where left"
    " and right differ, such as places or text.",
)
@click.option(
    "--hold",
    type=click.Choice(["none", *HOLD_OUT]),
    default="none",
    show_default=True,
    help="How to choose the fifth of the photos that is held out.",
)
@click.option("--hold-seed", type=click.IntRange(0), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=THREADS, show_default=True,
              help="CPU threads. The result depends on their number.")  # fmt: skip
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
    optimizer: str,
    batch: int,
    rate: float,
    warmup: float,
    decay: float,
    preserve: float,
    head_first: int,
    features_rate: float,
    kept_norms: bool,
    stored_views: int,
    mixed: float,
    average: float,
    dropout: float,
    frozen: int | None,
    augmentation: str,
    mirror: tuple[str, ...],
    hold: str,
    hold_seed: int,
    seed: int,
    threads: int,
) -> None:
    """Run the command."""
    set_determinism(seed, threads)
    if (method == "distilled") != bool(teacher):
        raise click.UsageError("--method distilled and --teacher go together")
    stage_list = parse_stages(stages)
    backbone = initial_network(weights, start, width)
    photos_of_sets = read_sets(data)
    photos = [photo for photo in photos_of_sets if photo.split in TRAIN_SPLITS]
    queries = [photo for photo in photos_of_sets if photo.split in QUERY_SPLITS]
    require_labels(photos, 2, data[0])
    mirrored = known_sets(mirror, photos)
    for line in warnings_about(photos):
        log(f"note: {line}")
    training, validation = hold_out(photos, hold, hold_seed)
    save_split(
        out / "split.csv", hold, {"train": training, "validation": validation, "query": queries}
    )
    cache = open_cache(training)
    for line in cache.skipped:
        log(f"skipped {line}")
    require_labels(cache.photos, 2, data[0])
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
    recipe = Recipe(
        method=method, bits=bits, stages=stage_list, batch=batch,
        optimizer=optimizer, rate=rate, decay=decay, warmup=warmup, mixed=mixed,
        average=average, dropout=dropout, flip_sources=mirrored,
        frozen=(0 if width else 7) if frozen is None else frozen,
        augmentation=augmentation, seed=seed, preserve=preserve, head_first=head_first,
        features_rate=features_rate, kept_norms=kept_norms, stored_views=stored_views,
    )  # fmt: skip
    sides = {side for side, _ in stage_list}
    if stored_views and not (isinstance(backbone, Backbone) and recipe.frozen and len(sides) == 1):
        raise click.UsageError("--stored-views needs MobileNet-v1, --frozen and a single size")
    log(f"{len(cache)} photos of {len(index)} labels, {recipe.epochs} epochs")
    names = list(index)
    head = load_head(start, names) if start else None
    teachers = load_teachers(teacher, names) if teacher else None
    inputs = digests(cache.photos, weights or start, teacher)
    train(cache, labels, names, backbone, recipe, out, head=head, teacher=teachers, inputs=inputs)
    plot_log(out / "log.csv", out / "log.png")
    log(f"done: {out / 'checkpoint.pt'}, training curve: {out / 'log.png'}")
