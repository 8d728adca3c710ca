"""Codes fitted to photos without labels, beside the shipped code and supervised ones.

The labels of a set are hidden from every fit without labels, and used only to judge: the queries of
the set's own split against its database, MAP@100 and P@1. The supervised layers see the labels of
the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.fitting.prior import FeaturePrior, prior_of
from edge_runtime.model import identify
from training.cli import log
from training.data.photo_sets import Photo, label_indices, read_sets
from training.data.pixel_cache import open_cache
from training.data.splits import default_split
from training.hash_layer.feature_model import FeatureModel, from_model, read_head
from training.hash_layer.fit import REFIT, HeadRecipe, fit_head
from training.hash_layer.stored_features import stored_passes
from training.methods.linear_map import Floats, LinearMap
from training.papers.files import FinishedRuns
from training.papers.rows import Row
from training.unlabelled.evidence import accuracy
from training.unlabelled.fit import EPOCHS, fit_without_labels

SHIPPED = "shipped"
WITHOUT_LABELS = ("lsh", "itq", "deepbit", "contrastive")
SUPERVISED_METHODS = (REFIT, "paper")
METHODS = (SHIPPED, *WITHOUT_LABELS, *SUPERVISED_METHODS)
DETERMINISTIC = (SHIPPED, REFIT)
SYSTEMS = {
    SHIPPED: ("the shipped code", "this project", "fitted with labels of grocery and ie_tower"),
    "lsh": ("LSH", "Charikar 2002", "without labels"),
    "itq": ("PCA-ITQ", "Gong & Lazebnik 2011", "without labels"),
    "deepbit": ("DeepBit", "Lin et al. 2016, CVPR", "without labels"),
    "contrastive": ("CIBHash", "Qiu et al. 2021, IJCAI", "without labels"),
    REFIT: ("gallery refit", "this project", "with labels"),
    "paper": ("the seed paper's layer", "Qi et al. 2018, ICME", "with labels"),
}  # fmt: skip
"""Method -> its name, its source, and what its fit sees."""


@dataclass(frozen=True)
class Side:
    """Photos with the features of each pass, float32 [N, F]; the clean pass comes first."""

    photos: list[Photo]
    passes: list[Floats]


@dataclass(frozen=True)
class Study:
    """Settings of the study."""

    model: Path
    bits: int
    views: int
    epochs: int = EPOCHS
    seeds: tuple[int, ...] = (1, 2, 3)
    methods: tuple[str, ...] = METHODS
    only_finished: bool = False
    """Fit nothing; give what is finished."""


def study_set(folder: Path, study: Study, out: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each method and its results on one set, one per seed, {"map100": .., "precision1": ..}.

    Features and finished runs are kept in `out`. Raises DataError and StorageError.
    """
    backbone, info = from_model(study.model), PortableEngine(study.model).model
    prior, shipped = prior_of(info), read_head(onnx.load(study.model))
    database_photos, query_photos, split = default_split(read_sets([folder]))
    runs = FinishedRuns(out / "runs.jsonl")
    features = out / "features"
    queries = _side(backbone, query_photos, 0, features)
    database = _side(backbone, database_photos, study.views, features)
    for method in study.methods:
        found = []
        for seed in study.seeds[:1] if method in DETERMINISTIC else study.seeds:
            key = {
                "set": folder.name, "split": split, "method": method, "bits": study.bits,
                "seed": seed, "views": study.views, "epochs": study.epochs,
                "model": identify(study.model)[0], "database": len(database.photos),
                "queries": len(queries.photos),
            }  # fmt: skip
            result = runs.find(key)
            if result is None and study.only_finished:
                continue
            if result is None:
                head = (shipped if method == SHIPPED
                        else _fit(method, database, study, seed, prior))  # fmt: skip
                result = accuracy(head, (database.photos, database.passes[0]),
                                  (queries.photos, queries.passes[0])).figures  # fmt: skip
                runs.add(key, result)
            log(f"{folder.name}, {method}, seed {seed}: {result}")
            found.append(result)
        yield method, found


def _side(backbone: FeatureModel, photos: Sequence[Photo], views: int, stored: Path) -> Side:
    cache = open_cache(photos)
    for line in cache.skipped:
        log(f"skipped {line}")
    return Side(cache.photos, stored_passes(backbone, cache, views, 1, stored))


def _fit(method: str, side: Side, study: Study, seed: int, prior: FeaturePrior | None) -> LinearMap:
    if method in WITHOUT_LABELS:
        return fit_without_labels(side.passes, method, study.bits, seed, study.epochs)
    index = label_indices(side.photos)
    labels = np.array([index[photo.label] for photo in side.photos], np.int64)
    recipe = HeadRecipe(method=method, bits=study.bits, epochs=study.epochs, seed=seed, prior=prior)
    return fit_head(side.passes, labels, len(index), recipe)


def rows_of(name: str, bits: int, method: str, found: list[dict[str, Any]]) -> list[Row]:
    """Return the rows of one method on the set `name`: MAP@100 and P@1."""
    system, source, sees = SYSTEMS[method]
    reason = "deterministic" if method in DETERMINISTIC else ""
    if not reason and len(found) < 3:
        reason = f"{len(found)} of 3 seeds finished"
    return [
        Row(
            system=system, source=source, setting=f"{name}, {bits} bits, {sees}", measure=measure,
            values=tuple(each[key] for each in found), one_seed_reason=reason if found else "",
            missing="" if found else "not finished",
            extra={"bytes_per_query": (bits + 7) // 8},
        )
        for measure, key in (("MAP@100 (%)", "map100"), ("P@1 (%)", "precision1"))
    ]  # fmt: skip
