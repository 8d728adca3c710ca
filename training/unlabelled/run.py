"""Fit the code of a model to photos without labels, and keep it only if it is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.model import MODEL_VARIABLE, find_prior, prior_path
from training.cli import log
from training.data.photo_sets import Photo, read_sets
from training.data.pixel_cache import PixelCache, open_cache
from training.data.splits import default_split
from training.files import write_bytes
from training.hash_layer.codes import to_codes
from training.hash_layer.feature_model import FeatureModel, from_model, read_head
from training.hash_layer.stored_features import stored_passes
from training.methods.linear_map import LinearMap
from training.onnx.model_file import save
from training.unlabelled.evidence import Score, accuracy, agreement, beyond_chance, matching_radius
from training.unlabelled.fit import TRAINED, fit_without_labels
from training.unlabelled.photos import (
    different_photos,
    hold_out,
    read_unlabelled,
    require_different,
    without_judged,
)

JUDGING_SEED = 1000
"""Seed of the views that judge; those of the fit start at --seed."""


@dataclass(frozen=True)
class Job:
    """What to fit, and to what."""

    data: Sequence[Path]
    model: Path
    out: Path
    method: str
    bits: int | None
    """Length of the new code; None for that of the model."""
    views: int
    """Augmented views per photo, for methods that are trained."""
    seed: int
    judge: Sequence[Path] = ()
    """Sets of labelled photos that judge both codes and are never fitted to."""


@dataclass(frozen=True)
class _Judged:
    """Both codes on the same queries."""

    old: Score
    new: Score
    by: str
    queries: int


def fit_to_folder(job: Job) -> dict[str, Any]:
    """Run the job; return its report. Raises DataError with too few different photos."""
    backbone, info = from_model(job.model), PortableEngine(job.model).model
    bits = job.bits or info.bits
    listed = read_unlabelled(job.data)
    labelled = read_sets(job.judge) if job.judge else []
    cache = _opened(without_judged(listed, labelled))
    stored = job.out / "features"
    clean = stored_passes(backbone, cache, 0, job.seed, stored)[0]
    rows = different_photos(clean)
    require_different(len(rows), len(cache), len(listed), bits, job.data[0])
    fitted, held = (rows[places] for places in hold_out(len(rows), job.seed))
    views = job.views if job.method in TRAINED else 0
    passes = [each[fitted] for each in stored_passes(backbone, cache, views, job.seed, stored)]
    log(f"fitting {bits} bits by {job.method} to {len(fitted)} photos without labels")
    old = read_head(onnx.load(job.model))
    new = fit_without_labels(passes, job.method, bits, job.seed)
    if labelled:
        judged = _by_labels(job, backbone, labelled, old, new)
    else:
        judged = _by_views(job, backbone, [cache.photos[row] for row in held], old, new)
    better = beyond_chance(judged.old, judged.new, job.seed)
    radius = matching_radius(
        to_codes(clean[held], old), info.radius, to_codes(clean[held], new), bits
    )
    own = job.out / f"mobilenet_v1_hash{bits}.onnx"
    report: dict[str, Any] = {
        "method": job.method, "bits": bits, "photos": len(listed), "readable": len(cache),
        "different": len(rows), "fitted": len(fitted), "judged_by": judged.by,
        "queries": judged.queries, "labels_used": bool(labelled),
        "shipped": judged.old.figures, "new": judged.new.figures,
        "kept": "new" if better else "shipped", "radius": radius,
        "radius_of": "as many pairs of different photos are within as with the shipped model",
    }  # fmt: skip
    if better:
        described = replace(info, name="mobilenet_v1_hash_own", bits=bits, radius=radius)
        save(backbone.with_head(new, described), own)
        if prior := find_prior(job.model):
            write_bytes(prior_path(own), prior.read_bytes())
        report["model"] = str(own)
    log(verdict(report, own))
    return report


def verdict(report: dict[str, Any], own: Path) -> str:
    """State the outcome and what to do in one line; `own` is the path of a better model."""
    figures = ", ".join(
        f"{name} {report['shipped'][name]} -> {report['new'][name]}" for name in report["new"]
    )
    line = f"{figures} % on {report['queries']} queries, judged by {report['judged_by']}"
    if not report["labels_used"]:
        line += "; an accuracy needs photos with labels (--judge)"
    if report["kept"] == "new":
        return f"better: {line}; set {MODEL_VARIABLE}={own} and enroll again"
    older = f"; {own} is from an earlier run" if own.exists() else ""
    return f"not better beyond chance: {line}; keep the shipped model{older}"


def _opened(photos: list[Photo]) -> PixelCache:
    cache = open_cache(photos)
    for line in cache.skipped:
        log(f"skipped {line}")
    return cache


def _by_labels(
    job: Job, backbone: FeatureModel, photos: list[Photo], old: LinearMap, new: LinearMap
) -> _Judged:
    database, queries, split = default_split(photos)
    sides = []
    for part in (database, queries):
        cache = _opened(part)
        features = stored_passes(backbone, cache, 0, job.seed, job.out / "features")[0]
        sides.append((cache.photos, features))
    first, second = (accuracy(head, sides[0], sides[1]) for head in (old, new))
    return _Judged(first, second, f"labels kept aside ({split})", len(sides[1][0]))


def _by_views(job: Job, backbone: FeatureModel, photos: list[Photo],
              old: LinearMap, new: LinearMap) -> _Judged:  # fmt: skip
    stored = job.out / "features"
    clean, views = stored_passes(backbone, _opened(photos), 1, JUDGING_SEED, stored)
    first, second = (agreement(head, clean, views) for head in (old, new))
    by = "augmented views of held-out photos among other photos"
    return _Judged(first, second, by, len(photos))
