"""Judge codes: by labels kept aside, or without any label by views of the same photo.

Without labels there is no accuracy. What can be measured is whether a code tells the views of one
photo from other photos: an augmented view of each held-out photo is a query, and the photos
themselves are the database. The score of a query is the reciprocal rank of its own photo, with
ties in expectation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from training.data.photo_sets import Photo
from training.eval.metrics import auroc, average_precision, distances, tie_aware_ap
from training.eval.retrieval import TOP, CodeSet, retrieve
from training.hash_layer.codes import to_codes
from training.methods.linear_map import Floats, LinearMap

DRAWS = 1000
"""Resamples of the bootstrap."""
CHANCE = 0.05
"""A gain counts if it is above 0 in all but this share of the resamples."""


@dataclass(frozen=True)
class Score:
    """What a code achieves on queries."""

    each: NDArray[np.float64]
    """Score of each query, 0 to 1; their mean decides."""
    figures: dict[str, float]
    """For the report."""


def agreement(head: LinearMap, photos: Floats, views: Floats) -> Score:
    """Score the codes of `views` float32 [N, F] as queries for their own of the `photos` [N, F]."""
    codes, queries = to_codes(photos, head), to_codes(views, head)
    distance = distances(queries, codes)
    own = np.eye(len(codes), dtype=bool)
    ranks = tie_aware_ap(distance, own, len(codes))
    separation = auroc(distance[own].astype(np.float64), distance[~own].astype(np.float64))
    return Score(ranks, {
        "reciprocal_rank": round(100 * float(ranks.mean()), 2),
        "separation": round(100 * float(separation), 2),
    })  # fmt: skip


def accuracy(
    head: LinearMap, database: tuple[list[Photo], Floats], queries: tuple[list[Photo], Floats]
) -> Score:
    """Score codes by labels: photos and features [N, F] of the database and of the queries."""
    sides = [CodeSet(photos, to_codes(features, head)) for photos, features in (database, queries)]
    return scored(*sides)


def scored(database: CodeSet, queries: CodeSet) -> Score:
    """Score the ranking of `database` for each of `queries` by AP@100 and P@1."""
    relevant = retrieve(database, queries).relevant
    precisions = average_precision(relevant, TOP)
    return Score(precisions, {
        "map100": round(100 * float(precisions.mean()), 2),
        "precision1": round(100 * float(relevant[:, 0].mean()), 2),
    })  # fmt: skip


def beyond_chance(old: Score, new: Score, seed: int) -> bool:
    """Return whether the mean score of the same queries rises by more than chance."""
    gains = new.each - old.each
    drawn = np.random.default_rng(seed).integers(0, len(gains), (DRAWS, len(gains)))
    return bool(np.quantile(gains[drawn].mean(1), CHANCE) > 0)


def matching_radius(old: Code, radius: int, new: Code, bits: int) -> int:
    """Return the radius at which as many pairs of photos are within as with the old code.

    `old` and `new` are the codes of the same N different photos, `radius` is that of `old`, and
    `bits` the length of `new`.
    """
    pairs = np.triu_indices(len(old), 1)
    share = float((distances(old, old)[pairs] <= radius).mean())
    found = distances(new, new)[pairs]
    within = np.array([(found <= each).mean() for each in range(bits + 1)])
    return max(int((within <= share).sum()) - 1, 0)
