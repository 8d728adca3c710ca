"""Fit the hash layer on fp32 features of a backbone and export the whole as ONNX.

    python -m training build-model --data DIR... --weights NPZ --out models/          frozen backbone
    python -m training build-model --data DIR... --checkpoint FILE --unseen FILE      trained backbone
    python -m training build-model --data DIR... --model FILE --bits 16               a finished model

The layer is fitted on each photo as it is and on some gently augmented views of it. The radius is
measured on labels that neither layer nor backbone saw: a frozen backbone saw none; beside a trained
one, `--unseen` names the checkpoint of a run with `--hold classes`. `--hold` names the split.csv of
such a run and leaves its held-out labels out of the layer itself: a model for `training.eval.evaluate
--unseen`, whose radius is measured on these labels. A finished model, the shipped one say, keeps
its features and gets a layer of another length or method. Deterministic.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import MODEL_FILE, InputSpec, ModelInfo, identify
from training.cli import log, report_errors
from training.commands.options import BITS
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
from training.methods import SUPERVISED, UNSUPERVISED
from training.onnx.export import check_parity, save

PARITY_PHOTOS = 500


def _hidden(hold: Path, photos: list[Photo], checkpoint: Path | None) -> set[str]:
    """The labels that `hold` keeps out; raises InputError where they cannot be strangers."""
    hidden = held_out_labels(hold, photos)
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
    type=click.Choice(sorted({*SUPERVISED, *UNSUPERVISED})),
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
    """Command: see the module."""
    set_determinism(seed)
    if unseen and hold:
        raise click.UsageError("with --hold the radius needs no --unseen: give one of them")
    origin = load_feature_model(weights, checkpoint, model, size)
    photos, queries, split = default_split(read_sets(data))
    hidden = _hidden(hold, photos, checkpoint) if hold else set()
    require_labels(photos, MIN_LABELS, data[0])
    recipe = HeadRecipe(method=method, bits=bits, seed=seed)
    database, held = compute_passes(origin, photos, passes, seed), PhotoReader(queries)
    require_labels(database.cache.photos, MIN_LABELS, data[0])
    fitted = [photo for photo in photos if photo.label not in hidden]
    require_labels(fitted, 2, data[0])
    classes = len(label_indices(fitted))
    log(f"fitting {bits} bits by {method} to {len(fitted)} photos of {classes} labels ({split})")
    head = fit_without(database, hidden, recipe)
    stranger, shown = origin, database
    if unseen:
        stranger = from_backbone(load_backbone(unseen), origin.size, describe_run(unseen))
        shown = compute_passes(stranger, photos, passes, seed)
    judged = hidden or unseen_labels(shown.cache.photos, held.photos)
    if not judged:
        raise DataError(
            "no query is of the labels held out to measure the radius on",
            where=data[0], remedy="add query photos of more labels",
        )  # fmt: skip
    measured = measure_radius(
        shown,
        (held.photos, clean_features(stranger.run, held, origin.size)),
        judged,
        head if hidden else fit_without(shown, judged, recipe),
    )
    radius = measured.radius
    done: dict[str, object] = {
        "photos": len(fitted),
        "labels": classes,
        "sets": count_by_set(fitted),
        "split": split,
        "backbone": origin.provenance,
        "head": vars(recipe),
        "passes": passes,
        "open_set": {
            "backbone": stranger.provenance if unseen else "the same",
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
    save(origin.with_head(head, info), path)
    rows = np.random.default_rng(seed).permutation(len(database.cache))[:PARITY_PHOTOS]
    squares = (to_input(preprocess(database.cache[int(row)], origin.size))[0] for row in rows)
    done["parity"] = check_parity(path, origin.expected(head), squares)
    done |= {"model": path.name, "bytes": path.stat().st_size}
    if evidence is not None:
        write_json(evidence, done)
    click.echo(json.dumps(done))
