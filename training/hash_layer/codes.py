"""Fit hash layers to the features of a set of photos, and compute their codes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from edge_runtime.code import Code, binarize, pack
from training.cli import log
from training.data.input_tensor import Floats
from training.data.photo_sets import Photo, label_indices
from training.data.pixel_cache import PixelCache, open_cache
from training.hash_layer.feature_model import FeatureModel
from training.hash_layer.features import feature_passes
from training.hash_layer.fit import HeadRecipe, fit_head
from training.methods.linear_map import LinearMap


@dataclass(frozen=True)
class Passes:
    """Features of photos: the clean pass first, then the augmented ones, float32 [N, F] each."""

    cache: PixelCache
    features: list[Floats]


def compute_passes(
    model: FeatureModel, photos: Sequence[Photo], augmented: int, seed: int
) -> Passes:
    """Compute one clean and `augmented` augmented passes of features of `photos`."""
    cache = open_cache(photos)
    for line in cache.skipped:
        log(f"skipped {line}")
    return Passes(cache, feature_passes(model.run, cache, model.size, augmented, seed))


def to_codes(features: Floats, head: LinearMap) -> Code:
    """Return the packed codes (edge_runtime.code) of features float32 [N, F]."""
    return pack(binarize(features @ head[0].T + head[1], 0.0))


def fit_without(database: Passes, held_out: Set[str], recipe: HeadRecipe) -> LinearMap:
    """Fit a hash layer to the photos of all labels that are not in `held_out`."""
    photos = database.cache.photos
    rows = np.array([i for i, photo in enumerate(photos) if photo.label not in held_out])
    index = label_indices(photos[int(row)] for row in rows)
    labels = np.array([index[photos[int(row)].label] for row in rows], np.int64)
    return fit_head([each[rows] for each in database.features], labels, len(index), recipe)
