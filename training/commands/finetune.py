"""Fit the hash layer of the shipped model to your own photos, in minutes and without torch.

\b
    python -m training finetune --data DIR --out build/my-model
    python -m training finetune --unlabelled --data DIR --method itq --out build/my-model
    make train DATA=my-photos/
    make hash UNLABELLED=1 DATA=my-photos/

Nothing needs to be downloaded: the backbone of the shipped model stays as it is, and a new hash
layer is fitted to its features in closed form. Other methods are trained and need torch.

This makes one model for many boards. On one board, `edge-runtime enroll` and
`edge-runtime gallery refit` fit the code to the gallery, from the first photo on.

A contiguous fifth of the photos of each label is held out to judge both models; OUT/split.csv lists
the photos of both parts. The new model is written only if it finds held-out photos better than the
shipped one by more than chance, and if strangers stay unknown. Strangers are labels that the
layer is fitted without. They are queried in galleries of the other labels with the default
settings. With ten labels or more, the radius is measured on them, too.

With --unlabelled, the photos need no labels, and sub-folders mean nothing. itq and lsh are closed
forms; contrastive and deepbit are trained and need torch. The new code is kept only if it is better
beyond chance: for the labelled photos of --judge, which the fit never sees, or without them, in
finding a held-out photo by an augmented view of it. The latter is not an accuracy.

The last message on stderr states the outcome, and stdout gets a JSON report.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod

from edge_runtime.engine.base import Engine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.fitting.prior import prior_of
from edge_runtime.model import MODEL_VARIABLE, ModelInfo, find_model, find_prior, prior_path
from training.cli import log, report_errors
from training.data.input_tensor import Floats
from training.data.photo_sets import DataError, Photo, read_sets, warnings_about
from training.data.pixel_cache import PhotoSource, PixelCache, open_cache
from training.data.splits import default_split, save_split
from training.eval.caching_engine import CachingEngine
from training.eval.metrics import average_precision
from training.eval.retrieval import TOP, CodeSet, retrieve
from training.files import write_bytes
from training.hash_layer.codes import Passes, fit_without, to_codes
from training.hash_layer.comparison import (
    DRAWS,
    NEW,
    RADIUS_LABELS,
    SHIPPED,
    Answers,
    ask_all,
    compare,
)
from training.hash_layer.feature_model import FeatureModel, from_model, read_head
from training.hash_layer.features import augmented_features, clean_features
from training.hash_layer.fit import REFIT, HeadRecipe
from training.hash_layer.layer_engine import LayerEngine
from training.hash_layer.radius import largest_radius
from training.methods import SUPERVISED
from training.methods.linear_map import LinearMap
from training.onnx.model_file import save
from training.onnx.quantize_qdq import agreement, quantize
from training.options import BITS
from training.unlabelled.fit import METHODS
from training.unlabelled.run import Job, fit_to_folder

LEAST_LABELS, LEAST_HELD_OUT = 5, 10
"""Labels that are needed, each with two photos to fit to and one that is held out, and all photos
that are held out. Measured by hand on draws of groceries: with 5 labels and 5 held-out photos, no
gain was ever beyond chance."""


def require_enough(photos: Sequence[Photo], held_out: Sequence[Photo] | None, where: Path) -> None:
    """Raise DataError unless there are enough photos to fit a layer and to judge it.

    `photos` are those of the labels; after the split, those that the layer is fitted to, and
    `held_out` are the others.
    """
    least = 3 if held_out is None else 2
    enough = {label for label, count in Counter(each.label for each in photos).items()
              if count >= least}  # fmt: skip
    judged = None
    if held_out is not None:
        judged = [photo for photo in held_out if photo.label in enough]
        enough = {photo.label for photo in judged}
    if len(enough) < LEAST_LABELS:
        what = f"labels with three readable photos or more: {len(enough)}, needed {LEAST_LABELS}"
    elif judged is not None and len(judged) < LEAST_HELD_OUT:
        what = f"photos that can be held out to judge: {len(judged)}, needed {LEAST_HELD_OUT}"
    else:
        return
    raise DataError(
        what,
        where=where,
        remedy="add photos; edge-runtime enroll and edge-runtime gallery refit work from the first"
        " photo",
    )


def average_precisions(
    cache: PhotoSource, held_out: PhotoSource, database: Floats, queries: Floats, head: LinearMap
) -> NDArray[np.float64]:
    """Return the AP@100 of every held-out photo against the database, with the codes of `head`."""
    ranking = retrieve(
        CodeSet(cache.photos, to_codes(database, head)),
        CodeSet(held_out.photos, to_codes(queries, head)),
    )
    return average_precision(ranking.relevant, TOP)


def verdict(report: dict[str, object], own: Path) -> str:
    """State the outcome and what to do in one sentence; `own` is the path of a better model."""
    figures = (
        f"MAP@100 {report['shipped_map100']} -> {report['new_map100']} on {report['queries']}"
        f" held-out photos; strangers named {report['shipped_strangers_named']} % ->"
        f" {report['new_strangers_named']} % of {report['strangers']}; right answers"
        f" {report['shipped_right']} % -> {report['new_right']} %"
    )
    if report["kept"] == NEW:
        return f"better: {figures}; set {MODEL_VARIABLE}={own} and enroll again"
    older = f"; {own} is from an earlier run" if own.exists() else ""
    return f"{report['reason']}: {figures}; keep the shipped model{older}"


def choose_radius(answers: Answers, info: ModelInfo) -> tuple[int, str]:
    """Return the radius of the new model, in bits, and a description of its basis."""
    count = len(set(answers.strangers.labels))
    if count < RADIUS_LABELS:
        return info.radius, (
            f"the shipped model, because {RADIUS_LABELS} labels are needed to measure it"
        )
    measured = largest_radius(np.array(answers.strangers.distances), info.bits)
    return measured, (
        f"{len(answers.strangers.labels)} photos of {count} labels, each a stranger to the layer"
    )


def passes_of(backbone: FeatureModel, cache: PixelCache, augmented: int, seed: int) -> Passes:
    """Compute the features of the photos, and those of `augmented` views of each."""
    features = [clean_features(backbone.run, cache, backbone.size)]
    for number in range(augmented):
        log(f"computing features of augmented views, pass {number + 1} of {augmented}")
        features.append(augmented_features(backbone.run, cache, backbone.size, seed + number))
    return Passes(cache, features)


@click.command(help=__doc__)
@click.option("--data", multiple=True, type=Path, required=True, help="Folders of your photos.")
@click.option("--model", type=Path, help="Model to start from.  [default: the shipped one]")
@click.option(
    "--out", type=Path, default=Path("build/my-model"), show_default=True, help="Output folder."
)
@click.option(
    "--method",
    type=click.Choice(list(dict.fromkeys([REFIT, *sorted(SUPERVISED), *METHODS]))),
    help="Method that fits the hash layer; all but refit, itq and lsh need torch."
    "  [default: refit; itq with --unlabelled]",
)
@click.option(
    "--passes",
    default=4,
    show_default=True,
    help="Augmented views per photo, for methods that are trained.",
)
@click.option("--seed", default=1, show_default=True)
@click.option("--unlabelled", is_flag=True, help="The photos have no labels.")
@click.option(
    "--judge", multiple=True, type=Path, help="Labelled photos that judge a code without labels."
)
@click.option("--bits", type=BITS, help="Length of a code without labels.  [default: the model's]")
@report_errors
def main(
    data: tuple[Path, ...],
    model: Path | None,
    out: Path,
    method: str | None,
    passes: int,
    seed: int,
    unlabelled: bool,
    judge: tuple[Path, ...],
    bits: int | None,
) -> None:
    """Run the command."""
    if not unlabelled and (judge or bits):
        raise click.UsageError("--judge and --bits go with --unlabelled")
    method = method or ("itq" if unlabelled else REFIT)
    if method not in (METHODS if unlabelled else (REFIT, *SUPERVISED)):
        raise click.UsageError(
            f"{method} is a method for photos {'with' if unlabelled else 'without'} labels"
        )
    if unlabelled:
        job = Job(data, find_model(model), out, method, bits, passes, seed, judge)
        click.echo(json.dumps(fit_to_folder(job)))
        return
    if method != REFIT:
        _ = SUPERVISED[method]  # reports a missing torch before any work
        from training.determinism import set_determinism

        set_determinism(seed)
    path = find_model(model)
    backbone = from_model(path)
    engine = CachingEngine(PortableEngine(path, threads=2))
    info = engine.model
    own = out / f"mobilenet_v1_hash{info.bits}.onnx"
    photos = read_sets(data)
    for line in warnings_about(photos):
        log(f"note: {line}")
    require_enough(photos, None, data[0])
    database_photos, query_photos, split = default_split(photos, seed)
    cache, held_out = open_cache(database_photos), open_cache(query_photos)
    for line in cache.skipped + held_out.skipped:
        log(f"skipped {line}")
    require_enough(cache.photos, held_out.photos, data[0])
    shipped_head = read_head(onnx.load(path))
    shipped = LayerEngine(engine, shipped_head)
    recipe = HeadRecipe(method=method, bits=info.bits, seed=seed, prior=prior_of(info))
    database = passes_of(backbone, cache, 0 if method == REFIT else passes, seed)
    queries = clean_features(backbone.run, held_out, backbone.size)
    head = fit_without(database, set(), recipe)
    clean = database.features[0]
    old, new = (
        average_precisions(cache, held_out, clean, queries, each) for each in (shipped_head, head)
    )
    rng = np.random.default_rng(seed)
    gains = (new - old)[rng.integers(0, len(new), (DRAWS, len(new)))].mean(1)
    found_better = bool(np.quantile(gains, 0.05) > 0)

    def engines(outside: Set[str]) -> dict[str, Engine]:
        return {
            SHIPPED: shipped,
            NEW: LayerEngine(engine, fit_without(database, outside, recipe)),
        }

    answers = ask_all(engines, cache, held_out, seed)
    radius, radius_of = choose_radius(answers[NEW], info)
    comparison = compare(answers, {SHIPPED: info.radius, NEW: radius}, seed)
    objections = comparison.objections
    if not found_better:
        objections = ["held-out photos are not found better, beyond chance", *objections]
    stored = out / "split.csv"
    report: dict[str, object] = {
        "method": method, "split": split, "split_file": str(stored),
        "split_sha256": save_split(
            stored, split, {"train": cache.photos, "query": held_out.photos}
        ),
        "shipped_map100": round(100 * float(old.mean()), 2),
        "new_map100": round(100 * float(new.mean()), 2),
        "queries": len(held_out), **comparison.figures,
        "shipped_radius": info.radius, "radius": radius, "radius_of": radius_of,
        "kept": SHIPPED if objections else NEW,
        "reason": f"not better: {', and '.join(objections)}" if objections else "better",
    }  # fmt: skip
    if not objections:
        log(f"radius {radius}, of {radius_of}")
        described = replace(info, name="mobilenet_v1_hash_own", radius=radius)
        save(backbone.with_head(head, described), own)
        if prior := find_prior(path):
            write_bytes(prior_path(own), prior.read_bytes())
        report |= {"model": str(own), **_write_int8(own, cache, held_out)}
    log(verdict(report, own))
    click.echo(json.dumps(report))


def _write_int8(own: Path, cache: PixelCache, held_out: PixelCache) -> dict[str, object]:
    """Write the int8 version beside the model `own`; return its path and share of equal bits."""
    small = own.with_name(f"{own.stem}_int8.onnx")
    quantize(own, cache, small, CalibrationMethod.MinMax)
    return {"int8": str(small), "int8_equal_bits": round(agreement(own, small, held_out), 4)}
