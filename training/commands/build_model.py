"""Fit a hash layer to the fp32 features of a backbone and export the whole network as ONNX.

\b
    python -m training build-model --data DIR... --weights NPZ --out models/      frozen backbone
    python -m training build-model --data DIR... --checkpoint FILE --unseen FILE  trained backbone
    python -m training build-model --data DIR... --model FILE --bits 16           finished model

The layer is fitted to every photo and to some gently augmented views of it. The radius is measured
on labels that neither the layer nor the backbone has seen. A frozen backbone has seen none. For a
trained backbone, `--unseen` names the checkpoint of a run with `--hold classes`.

`--hold` names the split.csv of such a run and keeps its held-out labels out of the layer as well.
The result is a model for `python -m training evaluate --unseen`, and its radius is measured on
these labels.

A finished model, such as the shipped one, keeps its features and gets a layer with another code
length or method. The result is deterministic.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import InputSpec, ModelInfo, identify
from training.cli import log, report_errors
from training.data.input_tensor import to_input
from training.data.photo_sets import (
    DataError,
    Photo,
    count_by_set,
    label_indices,
    read_sets,
    require_labels,
)
from training.data.pixel_cache import PhotoReader
from training.data.splits import default_split, held_out_labels
from training.determinism import set_determinism
from training.files import write_json
from training.fit.run_dir import classes_of_run, describe_run, load_backbone
from training.hash_layer.backbone import from_backbone, load_feature_model
from training.hash_layer.codes import compute_passes, fit_without
from training.hash_layer.features import clean_features
from training.hash_layer.fit import HeadRecipe
from training.hash_layer.radius import MIN_LABELS, measure_radius, unseen_labels
from training.methods import CLOSED_FORM, SUPERVISED
from training.onnx.model_file import check_parity, save
from training.options import BITS

PARITY_PHOTOS = 500


def _held_out(hold: Path, photos: list[Photo], checkpoint: Path | None) -> set[str]:
    """Return the labels that `hold` keeps out of training.

    Raises DataError when there are fewer than two, or when `checkpoint` was trained on them.
    """
    held_out = held_out_labels(hold, photos)
    if len(held_out) < 2:
        raise DataError(
            "it holds out a single label",
            where=hold,
            remedy="hold out two labels or more to measure a radius",
        )
    if checkpoint and (trained := sorted(held_out & set(classes_of_run(checkpoint)))):
        raise DataError(
            f"{checkpoint} was trained on {len(trained)} of its held-out labels,"
            f" for example {trained[0]}",
            where=hold,
            remedy="give the checkpoint of the run that wrote this file",
        )
    return held_out


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of photos.")
@click.option("--weights", type=Path, help="ImageNet weights (.npz) of a frozen backbone.")
@click.option("--checkpoint", type=Path, help="The checkpoint.pt of a training run.")
@click.option("--model", type=Path, help="A finished fp32 ONNX model that gets another layer.")
@click.option("--out", type=Path, default=Path("models"), show_default=True)
@click.option("--bits", type=BITS, default=64, show_default=True)
@click.option(
    "--size", default=224, show_default=True, help="Input side in pixels; --model has its own."
)
@click.option(
    "--method",
    type=click.Choice(sorted({*SUPERVISED, *CLOSED_FORM})),
    default="paper",
    show_default=True,
    help="Method that fits the hash layer.",
)
@click.option("--passes", default=2, show_default=True, help="Augmented views per photo.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--unseen", type=Path, help="Checkpoint of a run with --hold classes, to measure the radius."
)
@click.option(
    "--hold",
    type=Path,
    help="The split.csv of such a run; its held-out labels are kept out of the layer.",
)
@click.option("--evidence", type=Path, help="JSON file for the details of the fit.")
@click.option("--model-version", default="0", show_default=True)
@report_errors
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
    """Run the command."""
    set_determinism(seed)
    if unseen and hold:
        raise click.UsageError("--hold also measures the radius: give --hold or --unseen, not both")
    backbone = load_feature_model(weights, checkpoint, model, size)
    photos, queries, split = default_split(read_sets(data))
    held_out = _held_out(hold, photos, checkpoint) if hold else set()
    require_labels(photos, MIN_LABELS, data[0])
    recipe = HeadRecipe(method=method, bits=bits, seed=seed)
    database, query_photos = compute_passes(backbone, photos, passes, seed), PhotoReader(queries)
    require_labels(database.cache.photos, MIN_LABELS, data[0])
    fitted = [photo for photo in photos if photo.label not in held_out]
    require_labels(fitted, 2, data[0])
    classes = len(label_indices(fitted))
    log(f"fitting {bits} bits by {method} to {len(fitted)} photos of {classes} labels ({split})")
    head = fit_without(database, held_out, recipe)
    radius_backbone, radius_database = backbone, database
    if unseen:
        radius_backbone = from_backbone(load_backbone(unseen), backbone.size, describe_run(unseen))
        radius_database = compute_passes(radius_backbone, photos, passes, seed)
    labels = held_out or unseen_labels(radius_database.cache.photos, query_photos.photos)
    if not labels:
        raise DataError(
            "no query photo has one of the labels held out to measure the radius",
            where=data[0], remedy="add query photos of other labels",
        )  # fmt: skip
    measured = measure_radius(
        radius_database,
        (query_photos.photos, clean_features(radius_backbone.run, query_photos, backbone.size)),
        labels,
        head if held_out else fit_without(radius_database, labels, recipe),
    )
    radius = measured.radius
    evidence_data: dict[str, object] = {
        "photos": len(fitted),
        "labels": classes,
        "sets": count_by_set(fitted),
        "split": split,
        "backbone": backbone.provenance,
        "head": vars(recipe),
        "passes": passes,
        "open_set": {
            "backbone": radius_backbone.provenance if unseen else "the same",
            "auroc": measured.auroc,
            "radius": radius,
            "accepted_known": float(measured.accepted_known[radius]),
            "accepted_unknown": float(measured.accepted_unknown[radius]),
        },
    }
    if hold:
        evidence_data["hold"] = {"labels": len(held_out), "split_sha256": identify(hold)[0]}
    path = out / f"mobilenet_v1_hash{bits}.onnx"
    info = ModelInfo(
        id="", path=str(path), size_bytes=0, name=path.stem, version=model_version, bits=bits,
        threshold=0.5, radius=radius, input=InputSpec(size=backbone.size),
    )  # fmt: skip
    save(backbone.with_head(head, info), path)
    rows = np.random.default_rng(seed).permutation(len(database.cache))[:PARITY_PHOTOS]
    squares = (to_input(preprocess(database.cache[int(row)], backbone.size))[0] for row in rows)
    evidence_data["parity"] = check_parity(path, backbone.expected(head), squares)
    evidence_data |= {"model": path.name, "bytes": path.stat().st_size}
    if evidence is not None:
        write_json(evidence, evidence_data)
    click.echo(json.dumps(evidence_data))
