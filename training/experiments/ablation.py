"""Compare training runs of equal length that differ from a base recipe in one ingredient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.pixel_cache import PhotoReader, PixelCache
from training.determinism import set_determinism
from training.eval.retrieval import CodeSet, mean_ap
from training.experiments.methods import Part, float_map
from training.fit.recipe import Recipe
from training.fit.trainer import train
from training.hash_layer.backbone import feature_runner
from training.hash_layer.codes import to_codes
from training.hash_layer.features import clean_features
from training.hash_layer.fit import HeadRecipe, fit_head
from training.methods.linear_map import LinearMap
from training.models.imagenet_weights import load_imagenet
from training.models.mobilenet_v1 import Backbone

BASE = Recipe(
    method="joint", optimizer="adamw", rate=0.001, decay=0.05, mixed=0.2, average=0.98, frozen=7,
    flip_sources=("grocery",),
)  # fmt: skip

METHODS = ("paper", "ssdh", "dlbh", "orthohash", "csq", "contrastive")


@dataclass(frozen=True)
class Variant:
    """One row: `BASE` with one thing changed."""

    what: str
    recipe: Recipe
    imagenet: bool = True  # else random first weights


def variants(base: Recipe, lengths: Iterable[int]) -> dict[str, Variant]:
    """Return all rows by name, the most informative first."""
    rows = {"base": Variant("method joint, strong augmentation, mixing, averaged weights", base)}
    for name in METHODS:
        rows[name] = Variant(f"method {name} instead of joint", replace(base, method=name))
    rows |= {
        "gentle": Variant("gentle augmentation", replace(base, augmentation="gentle")),
        "unmixed": Variant("no mixup or cutmix", replace(base, mixed=0.0)),
        "last": Variant("last instead of averaged weights", replace(base, average=0.0)),
        "all": Variant("all layers trained", replace(base, frozen=0)),
        "seed2": Variant("another seed", replace(base, seed=2)),
        "seed3": Variant("a third seed", replace(base, seed=3)),
        "scratch": Variant("no ImageNet weights, all layers", replace(base, frozen=0), False),
    }
    for bits in lengths:
        for name in (BASE.method, *METHODS):
            recipe = replace(base, method=name, bits=bits)
            rows[f"{name}{bits}"] = Variant(f"method {name}, {bits} bits", recipe)
    return rows


@dataclass(frozen=True)
class Harness:
    """The training and evaluation photos that all variants share."""

    cache: PixelCache
    query_reader: PhotoReader
    labels: NDArray[np.int64]
    names: list[str]
    size: int  # input side in pixels at which they are judged

    def run(self, variant: Variant, weights: Path, folder: Path) -> dict[str, Any]:
        """Train `variant` in `folder` and judge it; MAP@100 in percent."""
        recipe = variant.recipe
        set_determinism(recipe.seed)
        backbone = load_imagenet(weights) if variant.imagenet else Backbone()
        trained = train(self.cache, self.labels, self.names, backbone, recipe, folder)
        run = feature_runner(trained.backbone, self.size)
        database = Part(self.cache.photos, clean_features(run, self.cache, self.size))
        queries = Part(self.query_reader.photos, clean_features(run, self.query_reader, self.size))
        fitted = HeadRecipe(method="paper", bits=recipe.bits)
        head = fit_head([database.features], self.labels, len(self.names), fitted)
        return {
            "what": variant.what,
            "bits": recipe.bits,
            "own": _map(database, queries, trained.head.linear()),
            "refitted": _map(database, queries, head),
            "float": round(float_map(database, queries), 2),
        }


def _map(database: Part, queries: Part, head: LinearMap) -> float:
    """Return MAP@100 in percent of the codes that `head` computes."""
    sides = [CodeSet(part.photos, to_codes(part.features, head)) for part in (database, queries)]
    return round(mean_ap(*sides), 2)
