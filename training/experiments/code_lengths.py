"""Evaluate features and the hash layers fitted to them, with and without binarization."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.data.input_tensor import Floats
from training.data.photo_sets import Photo, label_indices
from training.eval.protocols import protocols
from training.eval.retrieval import CodeSet, mean_ap
from training.experiments.methods import Part, float_map
from training.hash_layer.codes import to_codes
from training.hash_layer.fit import HeadRecipe, fit_head

JUDGED = ("official", "distinct_interleaved")
Measure = Callable[[list[Photo], Floats, list[Photo], Floats], float]


def judge(photos: list[Photo], features: Floats, measure: Measure) -> dict[str, float]:
    """Return MAP@100 by "source/protocol" of features float32 [N, F] of all `photos`."""
    result = {}
    for source in sorted({photo.source for photo in photos}):
        own = [photo for photo in photos if photo.source == source]
        row = {photo.name: i for i, photo in enumerate(photos) if photo.source == source}
        nothing = CodeSet(own, np.zeros((len(own), 1), np.uint64))
        for name, (database, queries, _) in protocols(own, nothing).items():
            if name in JUDGED:
                sides = [
                    (side.photos, features[[row[photo.name] for photo in side.photos]])
                    for side in (database, queries)
                ]
                result[f"{source}/{name}"] = round(measure(*sides[0], *sides[1]), 2)
    return result


def by_cosine(
    database: list[Photo], base: Floats, queries: list[Photo], query_features: Floats
) -> float:
    """Return MAP@100 in percent of ranking by cosine."""
    return float_map(Part(database, base), Part(queries, query_features))


def by_bits(
    database: list[Photo], base: Floats, queries: list[Photo], query_features: Floats
) -> float:
    """Return MAP@100 in percent of ranking signs by Hamming distance."""
    identity = np.eye(base.shape[1], dtype=np.float32), np.zeros(base.shape[1], np.float32)
    sides = [
        CodeSet(database, to_codes(base, identity)),
        CodeSet(queries, to_codes(query_features, identity)),
    ]
    return mean_ap(*sides)


def fitted(
    photos: list[Photo], features: Floats, database: list[Floats], recipe: HeadRecipe
) -> tuple[dict[str, float], dict[str, float]]:
    """Return MAP@100 of a fitted layer's bits and of its activations.

    The layer is fitted to the passes `database`, which cover the first `photos`.
    """
    known = photos[: len(database[0])]
    index = label_indices(known)
    labels = np.array([index[photo.label] for photo in known], np.int64)
    weight, bias = fit_head(database, labels, len(index), recipe)
    logits = features @ weight.T + bias
    return judge(photos, logits, by_bits), judge(photos, np.tanh(logits / 2), by_cosine)
