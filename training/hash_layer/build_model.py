"""Fit the hash layer on fp32 features of a backbone and export the whole as ONNX.

    python -m training.hash_layer.build_model --data DIR... --weights NPZ --out models/          frozen backbone
    python -m training.hash_layer.build_model --data DIR... --checkpoint FILE --unseen FILE      trained backbone
    python -m training.hash_layer.build_model --data DIR... --model FILE --bits 16               a finished model

The layer is fitted on each photo as it is and on some gently augmented views of it. The radius is
measured on labels that neither layer nor backbone saw: a frozen backbone saw none; beside a trained
one, `--unseen` names the checkpoint of a run with `--hold classes`. `--hold` names the split.csv of
such a run and leaves its held-out labels out of the layer itself: a model for `training.eval.evaluate
--unseen`, whose radius is measured on these labels. A finished model, the shipped one say, keeps
its features and gets a layer of another length or method. Deterministic.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from edge_runtime.code import Code, binarize, pack
from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import MODEL_FILE, InputSpec, ModelInfo, identify
from training.cli import BITS, fail_in_one_line, say, settle
from training.data.photo_sets import (
    DataError,
    Photo,
    enough_labels,
    label_indices,
    read_sets,
    sets_of,
)
from training.data.pixel_cache import PhotoReader, PixelCache, open_cache
from training.data.splits import class_split, default_split, held_labels
from training.eval.metrics import OpenSet, open_set_episodes
from training.files import write_json
from training.fit.run_dir import classes_of_run, describe_run, load_backbone, load_start
from training.hash_layer.backbone import Origin, of_backbone, of_model
from training.hash_layer.features import Floats, clean_features, feature_passes, to_input
from training.hash_layer.fit import HeadRecipe, fit_head
from training.methods import LEARNT, UNSUPERVISED
from training.methods.base import LinearMap
from training.onnx.export import check_parity, save

PARITY_PHOTOS = 500
UNSEEN_SHARE, UNSEEN_SEED = 0.2, 5
LABELS = 4  # at least: two to fit a layer to, two unseen ones to measure the radius on


@dataclass(frozen=True)
class Passes:
    """Features of photos, the clean pass first, then augmented ones."""

    cache: PixelCache
    features: list[Floats]


def compute_passes(origin: Origin, photos: list[Photo], augmented: int, seed: int) -> Passes:
    """Features of `photos`: one clean and `augmented` augmented passes."""
    cache = open_cache(photos)
    for line in cache.skipped:
        say(f"skipped {line}")
    return Passes(cache, feature_passes(origin.run, cache, origin.size, augmented, seed))


def to_codes(features: Floats, head: LinearMap) -> Code:
    """Packed codes of features float32 [N, F] (edge_runtime.code)."""
    return pack(binarize(features @ head[0].T + head[1], 0.0))


def strangers(photos: Sequence[Photo], queries: Iterable[Photo]) -> set[str]:
    """A fifth of the labels, two or more, for a radius measured by a layer fitted without them.

    Those that `training.fit.train --hold classes` keeps out, so that its backbone is a stranger to them
    too. None where `photos` are of fewer than four labels, or no query is of those held out.
    """
    count = len(label_indices(photos))
    if count < LABELS:
        return set()
    try:
        _, unseen = class_split(photos, max(UNSEEN_SHARE, 2 / count), UNSEEN_SEED)
    except DataError:  # sets of so few labels each that a share of them is none
        return set()
    found = {photo.label for photo in unseen}
    asked = any(photo.label in found for photo in queries)
    return found if asked and len(found) > 1 else set()


def fit_without(database: Passes, hidden: Set[str], recipe: HeadRecipe) -> LinearMap:
    """A hash layer fitted to the photos of all labels but the `hidden` ones."""
    photos = database.cache.kept
    rows = np.array([i for i, photo in enumerate(photos) if photo.label not in hidden])
    index = label_indices(photos[int(row)] for row in rows)
    labels = np.array([index[photos[int(row)].label] for row in rows], np.int64)
    return fit_head([each[rows] for each in database.features], labels, len(index), recipe)


def measure_radius(
    database: Passes, asked: tuple[Sequence[Photo], Floats], labels: Set[str], head: LinearMap
) -> OpenSet:
    """Open set on `labels` by the codes of `head`; `asked` are queries and their features."""
    names = label_indices(database.cache.kept)
    truth = np.array([names.get(photo.label, -1) for photo in asked[0]], np.int64)
    own = np.array([names[photo.label] for photo in database.cache.kept], np.int64)
    return open_set_episodes(
        (to_codes(database.features[0], head), own),
        (to_codes(asked[1], head), truth),
        np.array(sorted(names[label] for label in labels & names.keys()), np.int64),
        len(head[1]),
    )


def choose(weights: Path | None, checkpoint: Path | None, model: Path | None, size: int) -> Origin:
    """What the layer is put on; raises click.UsageError unless exactly one is given."""
    if [weights, checkpoint, model].count(None) != 2:
        raise click.UsageError("give one of --weights, --checkpoint and --model")
    if model is not None:
        return of_model(model)
    made = describe_run(checkpoint) if checkpoint else "frozen"
    return of_backbone(load_start(weights, checkpoint), size, made)


def _hidden(hold: Path, photos: list[Photo], checkpoint: Path | None) -> set[str]:
    """The labels that `hold` keeps out; raises InputError where they cannot be strangers."""
    hidden = held_labels(hold, photos)
    if len(hidden) < 2:
        raise DataError("it holds out one label only", where=hold, remedy="two tell a radius")
    if checkpoint and (known := sorted(hidden & set(classes_of_run(checkpoint)))):
        raise DataError(
            f"{checkpoint} was trained on {len(known)} of its held-out labels, {known[0]} say",
            where=hold,
            remedy="give the run that wrote this file",
        )
    return hidden


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Sets of photos.")
@click.option("--weights", type=Path, help="ImageNet arrays: a frozen backbone.")
@click.option("--checkpoint", type=Path, help="A training run's checkpoint.pt.")
@click.option("--model", type=Path, help="A finished model, instead: it gets another layer.")
@click.option("--out", type=Path, default=Path("models"), show_default=True)
@click.option("--bits", type=BITS, default=64, show_default=True)
@click.option(
    "--size", default=224, show_default=True, help="Input side in pixels, but a model's own."
)
@click.option(
    "--method",
    type=click.Choice(sorted({*LEARNT, *UNSUPERVISED})),
    default="paper",
    show_default=True,
    help="Of the hash layer.",
)
@click.option("--passes", default=2, show_default=True, help="Augmented views of each photo.")
@click.option("--seed", default=1, show_default=True)
@click.option("--unseen", type=Path, help="Checkpoint of a run with --hold classes.")
@click.option(
    "--hold",
    type=Path,
    help="The split.csv of such a run: its held-out labels stay out of the layer.",
)
@click.option("--evidence", type=Path, help="Where a JSON of what was done goes.")
@click.option("--model-version", default="0", show_default=True)
@fail_in_one_line
def main(
    data: tuple[Path, ...],
    weights: Path | None,
    checkpoint: Path | None,
    model: Path | None,
    out: Path,
    bits: int,
    size: int,
    method: str,
    passes: int,
    seed: int,
    unseen: Path | None,
    hold: Path | None,
    evidence: Path | None,
    model_version: str,
) -> None:
    """Command: see the module."""
    settle(seed)
    if unseen and hold:
        raise click.UsageError("with --hold the radius needs no --unseen: give one of them")
    origin = choose(weights, checkpoint, model, size)
    photos, queries, split = default_split(read_sets(data))
    hidden = _hidden(hold, photos, checkpoint) if hold else set()
    enough_labels(photos, LABELS, data[0])
    recipe = HeadRecipe(method=method, bits=bits, seed=seed)
    database, held = compute_passes(origin, photos, passes, seed), PhotoReader(queries)
    enough_labels(database.cache.kept, LABELS, data[0])
    fitted = [photo for photo in photos if photo.label not in hidden]
    enough_labels(fitted, 2, data[0])
    classes = len(label_indices(fitted))
    say(f"fitting {bits} bits by {method} to {len(fitted)} photos of {classes} labels ({split})")
    head = fit_without(database, hidden, recipe)
    stranger, shown = origin, database
    if unseen:
        stranger = of_backbone(load_backbone(unseen), origin.size, describe_run(unseen))
        shown = compute_passes(stranger, photos, passes, seed)
    judged = hidden or strangers(shown.cache.kept, held.kept)
    if not judged:
        raise DataError(
            "no query is of the labels held out to measure the radius on",
            where=data[0], remedy="add query photos of more labels",
        )  # fmt: skip
    measured = measure_radius(
        shown,
        (held.kept, clean_features(stranger.run, held, origin.size)),
        judged,
        head if hidden else fit_without(shown, judged, recipe),
    )
    radius = measured.radius
    done: dict[str, object] = {
        "photos": len(fitted),
        "labels": classes,
        "sets": sets_of(fitted),
        "split": split,
        "backbone": origin.made,
        "head": vars(recipe),
        "passes": passes,
        "open_set": {
            "backbone": stranger.made if unseen else "the same",
            "auroc": measured.auroc,
            "radius": radius,
            "accepted_known": float(measured.accepted_known[radius]),
            "accepted_unknown": float(measured.accepted_unknown[radius]),
        },
    }
    if hold:
        done["hold"] = {"labels": len(hidden), "split_sha256": identify(hold)[0]}
    path = out / (MODEL_FILE if bits == 64 else f"mobilenet_v1_hash{bits}.onnx")
    info = ModelInfo(
        id="", path=str(path), size_bytes=0, name=path.stem, version=model_version, bits=bits,
        threshold=0.5, radius=radius, input=InputSpec(size=origin.size),
    )  # fmt: skip
    save(origin.whole(head, info), path)
    rows = np.random.default_rng(seed).permutation(len(database.cache))[:PARITY_PHOTOS]
    squares = (to_input(preprocess(database.cache[int(row)], origin.size))[0] for row in rows)
    done["parity"] = check_parity(path, origin.expected(head), squares)
    done |= {"model": path.name, "bytes": path.stat().st_size}
    if evidence is not None:
        write_json(evidence, done)
    click.echo(json.dumps(done))


if __name__ == "__main__":
    main()
