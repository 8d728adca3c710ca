"""Make a general model: blend a trained model with ImageNet weights and fit its hash layer.

\b
    python -m training blend --model models/mobilenet_v1_hash64.onnx --weights NPZ --share 0.25
        --data DIR... --background DIR... --out models/mobilenet_v1_general.onnx

A network that was trained on a few labels forgets the rest of the world. The average of its weights
and the ImageNet weights that it started from knows both. The hash layer is fitted to the database
photos of --data in closed form, without gradient training; the result is deterministic.

The radius lets 2 % of the photos of --background find a neighbor in a gallery of ten labels.
Without such photos it is measured on held-out labels, which the trained model knows.

Beside the model, NAME.prior.npz gets the feature prior (training/hash_layer/prior.py): the
covariance of features within labels, and a sample of features of --data and --background. The
runtime fits codes to a gallery with it.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from edge_runtime.image.decode import find_photos
from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import InputSpec, ModelInfo, prior_path
from training.cli import log, report_errors
from training.data.input_tensor import to_input
from training.data.photo_sets import DataError, Photo, count_by_set, read_sets, require_labels
from training.data.pixel_cache import PhotoReader
from training.data.splits import default_split
from training.determinism import set_determinism
from training.files import write_json
from training.hash_layer.backbone import from_blend
from training.hash_layer.codes import compute_passes, fit_without
from training.hash_layer.features import clean_features
from training.hash_layer.fit import HeadRecipe
from training.hash_layer.prior import feature_prior, write_prior
from training.hash_layer.radius import (
    MIN_LABELS,
    measure_radius,
    radius_against,
    unseen_labels,
)
from training.methods import CLOSED_FORM
from training.onnx.model_file import check_parity, save
from training.options import BITS

PARITY_PHOTOS = 300


@click.command(help=__doc__)
@click.option("--model", type=Path, required=True, help="A trained fp32 ONNX hash model.")
@click.option("--weights", type=Path, required=True, help="ImageNet weights (.npz).")
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.25,
    show_default=True,
    help="Share of the trained model in the average.",
)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option(
    "--background", multiple=True, type=Path, help="Folders of photos of the world, without labels."
)
@click.option("--out", type=Path, required=True, help="The new model; its prior lies beside it.")
@click.option("--bits", type=BITS, default=64, show_default=True)
@click.option(
    "--method",
    type=click.Choice(sorted(CLOSED_FORM)),
    default="whitened",
    show_default=True,
    help="Method that fits the hash layer.",
)
@click.option("--seed", default=1, show_default=True)
@click.option("--evidence", type=Path, help="JSON file for the details of the fit.")
@click.option("--model-version", default="0", show_default=True)
@report_errors
def main(
    model: Path,
    weights: Path,
    share: float,
    data: tuple[Path, ...],
    background: tuple[Path, ...],
    out: Path,
    bits: int,
    method: str,
    seed: int,
    evidence: Path | None,
    model_version: str,
) -> None:
    """Run the command."""
    set_determinism(seed)
    backbone = from_blend(model, weights, share)
    photos, query_photos, split = default_split(read_sets(data))
    require_labels(photos, MIN_LABELS, data[0])
    database = compute_passes(backbone, photos, 0, seed)
    recipe = HeadRecipe(method=method, bits=bits, seed=seed)
    log(f"fitting {bits} bits by {method} to {len(database.cache)} photos ({split})")
    head = fit_without(database, set(), recipe)
    queries = PhotoReader(query_photos)
    labels = unseen_labels(database.cache.photos, queries.photos)
    if not labels:
        raise DataError(
            "no query photo has one of the labels held out to measure strangers",
            where=data[0], remedy="add query photos of other labels",
        )  # fmt: skip
    measured = measure_radius(
        database,
        (queries.photos, clean_features(backbone.run, queries, backbone.size)),
        labels,
        fit_without(database, labels, recipe),
    )
    features = database.features[0]
    if background:
        world = PhotoReader(
            [
                Photo(path, path.name, "", "", folder.name)
                for folder in background
                for path in find_photos(folder)
            ]
        )
        strangers = clean_features(backbone.run, world, backbone.size)
        radius = radius_against(strangers, database, head)
    else:
        strangers, radius = features[:0], measured.radius
    info = ModelInfo(
        id="", path=str(out), size_bytes=0, name=out.stem, version=model_version, bits=bits,
        threshold=0.5, radius=radius, input=InputSpec(size=backbone.size),
    )  # fmt: skip
    save(backbone.with_head(head, info), out)
    rows = np.random.default_rng(seed).permutation(len(database.cache))[:PARITY_PHOTOS]
    squares = (to_input(preprocess(database.cache[int(row)], backbone.size))[0] for row in rows)
    parity = check_parity(out, backbone.expected(head), squares)
    arrays = feature_prior(features, database.cache.photos, strangers, seed)
    write_prior(prior_path(out), arrays)
    report: dict[str, object] = {
        "model": out.name,
        "bytes": out.stat().st_size,
        "prior_bytes": prior_path(out).stat().st_size,
        "backbone": backbone.provenance,
        "photos": len(database.cache),
        "sets": count_by_set(database.cache.photos),
        "split": split,
        "head": {"method": method, "bits": bits, "seed": seed},
        "background": len(arrays["background"]),
        "radius": radius,
        "strangers": len(strangers),
        "open_set": {
            "labels": len(labels),
            "auroc": measured.auroc,
            "accepted_known": float(measured.accepted_known[radius]),
            "accepted_unknown": float(measured.accepted_unknown[radius]),
        },
        "parity": parity,
    }
    if evidence is not None:
        write_json(evidence, report)
    click.echo(json.dumps(report))
