"""Fit the hash layer on fp32 features of a backbone and export the whole as ONNX.

    python -m training.ship --data DIR... --weights NPZ --out models/          frozen backbone
    python -m training.ship --data DIR... --checkpoint FILE --unseen FILE      trained backbone
    python -m training.ship --data DIR... --model FILE --bits 16               a finished model

The layer is fitted on each photo as it is and on some gently augmented views of it. The radius is
measured on labels that neither layer nor backbone saw: a frozen backbone saw none; beside a trained
one, `--unseen` names the checkpoint of a run with `--hold classes`. A finished model, the shipped
one say, keeps its features and gets a layer of another length or method. Deterministic.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, binarise, pack
from edge_runtime.fit import fit
from edge_runtime.model import MODEL_FILE, InputSpec, ModelInfo
from training.cache import PhotoReader, PixelCache, open_cache
from training.cli import BITS, fail_in_one_line, say, settle
from training.data import Photo, enough_labels, label_indices, read_sets
from training.export import check_parity, save
from training.features import Floats, clean_features, feature_passes, to_input
from training.files import write_json
from training.heads import HeadRecipe, fit_head
from training.methods import LEARNT, UNSUPERVISED
from training.methods.base import LinearMap
from training.metrics import OpenSet, open_set_episodes
from training.origin import Origin, of_backbone, of_model
from training.runs import describe_run, load_backbone, load_start
from training.splits import class_split, default_split

PARITY_PHOTOS = 500
UNSEEN_SHARE, UNSEEN_SEED = 0.2, 5
LABELS = 4  # at least: two to fit a layer to, two unseen ones to measure the radius on


@dataclass(frozen=True)
class Passes:
    """Features of photos, the clean pass first, then augmented ones; with class indices."""

    cache: PixelCache
    labels: NDArray[np.int64]
    features: list[Floats]


def compute_passes(origin: Origin, photos: list[Photo], augmented: int, seed: int) -> Passes:
    """Features of `photos`: one clean and `augmented` augmented passes."""
    cache = open_cache(photos)
    for line in cache.skipped:
        say(f"skipped {line}")
    index = label_indices(photos)
    labels = np.array([index[photo.label] for photo in cache.kept], np.int64)
    features = feature_passes(origin.run, cache, origin.size, augmented, seed)
    return Passes(cache, labels, features)


def to_codes(features: Floats, head: LinearMap) -> Code:
    """Packed codes of features float32 [N, F] (edge_runtime.code)."""
    return pack(binarise(features @ head[0].T + head[1], 0.0))


def measure_radius(
    origin: Origin, database: Passes, queries: list[Photo], recipe: HeadRecipe
) -> OpenSet:
    """Open set on labels that a second hash layer, fitted without a fifth of them, never saw."""
    asked = PhotoReader(queries)
    photos = database.cache.kept
    names = label_indices(photos)
    share = max(UNSEEN_SHARE, 2 / len(names))
    seen, unseen = class_split(photos, share, UNSEEN_SEED)
    hidden = {photo.label for photo in unseen}
    rows = np.array([i for i, photo in enumerate(photos) if photo.label not in hidden])
    index = label_indices(seen)
    labels = np.array([index[photos[i].label] for i in rows], np.int64)
    head = fit_head([each[rows] for each in database.features], labels, len(index), recipe)
    truth = np.array([names.get(photo.label, -1) for photo in asked.kept], np.int64)
    return open_set_episodes(
        (to_codes(database.features[0], head), database.labels),
        (to_codes(clean_features(origin.run, asked, origin.size), head), truth),
        np.array(sorted(names[label] for label in hidden), np.int64),
        recipe.bits,
    )


def choose(weights: Path | None, checkpoint: Path | None, model: Path | None, size: int) -> Origin:
    """What the layer is put on; raises click.UsageError unless exactly one is given."""
    if model is not None and weights is None and checkpoint is None:
        return of_model(model)
    if model is not None:
        raise click.UsageError("give one of ImageNet weights, a checkpoint and a model")
    made = describe_run(checkpoint) if checkpoint else "frozen"
    return of_backbone(load_start(weights, checkpoint), size, made)


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
    evidence: Path | None,
    model_version: str,
) -> None:
    """Command: see the module."""
    settle(seed)
    origin = choose(weights, checkpoint, model, size)
    photos, queries, split = default_split(read_sets(data))
    enough_labels(photos, LABELS, data[0])
    recipe = HeadRecipe(method=method, bits=bits, seed=seed)
    database = compute_passes(origin, photos, passes, seed)
    enough_labels(database.cache.kept, LABELS, data[0])
    classes = len(label_indices(photos))
    say(f"fitting {bits} bits by {method} to {len(photos)} photos of {classes} labels ({split})")
    head = fit_head(database.features, database.labels, classes, recipe)
    stranger, shown = origin, database
    if unseen:
        stranger = of_backbone(load_backbone(unseen), origin.size, describe_run(unseen))
        shown = compute_passes(stranger, photos, passes, seed)
    measured = measure_radius(stranger, shown, queries, recipe)
    radius = measured.radius
    done: dict[str, object] = {
        "photos": len(photos),
        "labels": classes,
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
    path = out / (MODEL_FILE if bits == 64 else f"mobilenet_v1_hash{bits}.onnx")
    info = ModelInfo(
        id="", path=str(path), size_bytes=0, name=path.stem, version=model_version, bits=bits,
        threshold=0.5, radius=radius, input=InputSpec(size=origin.size),
    )  # fmt: skip
    save(origin.whole(head, info), path)
    rows = np.random.default_rng(seed).permutation(len(database.cache))[:PARITY_PHOTOS]
    squares = (to_input(fit(database.cache[int(row)], origin.size))[0] for row in rows)
    done["parity"] = check_parity(path, origin.expected(head), squares)
    done |= {"model": path.name, "bytes": path.stat().st_size}
    if evidence is not None:
        write_json(evidence, done)
    click.echo(json.dumps(done))


if __name__ == "__main__":
    main()
