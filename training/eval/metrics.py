"""Retrieval measures over a Hamming ranking, and the open-set curve.

AP@n is the paper's: precision at each relevant item found in the top n, averaged over the relevant
items found there (0 when none is). Rankings are stable by (distance, database position); callers
shuffle the database once by a fixed seed, so that photos of a class do not sit together. The
tie-aware AP (McSherry & Najork 2008) is the expectation over all orders of equal distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, hamming
from edge_runtime.errors import ReportError

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
Distances = NDArray[np.uint16]  # codes have up to 4096 bits


def distances(queries: Code, database: Code) -> Distances:
    """Return the Hamming distances [Q, D] of uint64 codes [Q, W] and [D, W]."""
    result = np.empty((len(queries), len(database)), np.uint16)
    for row, query in enumerate(queries):
        result[row] = hamming(query[None], database)
    return result


def rank(distance: Distances) -> NDArray[np.intp]:
    """Return database positions [Q, D], nearest first, ties by position."""
    return np.argsort(distance, axis=1, kind="stable")


def average_precision(relevant: NDArray[np.bool_], top: int | None = None) -> Doubles:
    """Return AP [Q] of ranked relevance bool [Q, D] over the relevant items in the first `top`."""
    found = relevant[:, :top]
    hits = np.cumsum(found, axis=1)
    precision = hits / np.arange(1, found.shape[1] + 1)
    count = hits[:, -1]
    ap: Doubles = (precision * found).sum(1) / np.maximum(count, 1)
    return ap


def precision_at(relevant: NDArray[np.bool_], top: int) -> float:
    """Return the mean share of relevant items among the first `top`."""
    return float(relevant[:, :top].mean())


def tie_aware_ap(distance: Distances, same: NDArray[np.bool_], top: int) -> Doubles:
    """Return the expected AP@top [Q] over random orders within equal distances.

    For a tie group that starts at rank s with c items, r of them relevant, an item at place k
    (1..c) of the group is relevant with probability r/c, and then (k-1)(r-1)/(c-1) others of the
    group precede it on average. The divisor is the expected number of relevant in the top.
    """
    result = np.zeros(len(distance))
    for row in range(len(distance)):
        levels, groups = np.unique(distance[row], return_inverse=True)
        sizes = np.bincount(groups, minlength=len(levels))
        relevant = np.bincount(groups, weights=same[row], minlength=len(levels))
        start, before, total, expected = 0, 0.0, 0.0, 0.0
        for size, hits in zip(sizes, relevant, strict=True):
            if start >= top:
                break
            if hits:
                place = np.arange(1, min(size, top - start) + 1)
                others = (place - 1) * (hits - 1) / max(size - 1, 1)
                total += float(((hits / size) * (before + 1 + others) / (start + place)).sum())
                expected += hits / size * len(place)
            start, before = start + size, before + hits
        result[row] = total / expected if expected else 0.0
    return result


def precision_recall(relevant: NDArray[np.bool_], points: int = 21) -> tuple[Doubles, Doubles]:
    """Return recall and mean interpolated precision at `points` recall levels.

    Only queries with a relevant item count.
    """
    relevant = relevant[relevant.any(1)]
    hits = np.cumsum(relevant, axis=1)
    precision = hits / np.arange(1, relevant.shape[1] + 1)
    best_from = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / hits[:, -1:]
    levels = np.linspace(0, 1, points)
    curve = np.zeros(points)
    for row in range(len(relevant)):
        places = np.searchsorted(recall[row], levels - 1e-12)
        curve += best_from[row, np.minimum(places, relevant.shape[1] - 1)]
    return levels, curve / max(len(relevant), 1)


@dataclass(frozen=True)
class OpenSet:
    """The best distance of known and of unknown queries, and the radius that tells them apart."""

    accepted_known: Doubles  # [R], share of known queries at or below radius 0..R-1
    accepted_unknown: Doubles  # [R], the same for unknown queries
    auroc: float
    radius: int


def auroc(known: Ints | Doubles, unknown: Ints | Doubles) -> float:
    """Return the area under the ROC of distances [K] and [U], where known ones are smaller."""
    less = (known[:, None] < unknown).mean()
    equal = (known[:, None] == unknown).mean()
    return float(less + equal / 2)


def open_set(known: Ints, unknown: Ints, bits: int) -> OpenSet:
    """Find the radius with the largest Youden index from nearest distances int [K] and [U]."""
    radii = np.arange(bits + 1)
    accepted_known = (known[:, None] <= radii).mean(0)
    accepted_unknown = (unknown[:, None] <= radii).mean(0)
    best = int(np.argmax(accepted_known - accepted_unknown))
    return OpenSet(accepted_known, accepted_unknown, auroc(known, unknown), best)


def open_set_episodes(
    database: tuple[Code, Ints],
    queries: tuple[Code, Ints],
    labels: Ints,
    bits: int,
    enrolled: int = 10,
    episodes: int = 50,
    seed: int = 1,
) -> OpenSet:
    """Measure the open set on small galleries: enroll a few labels and query all labels.

    `database` and `queries` are (codes [N, W], labels [N]); each episode enrolls all database
    photos of `enrolled` (at most half) of `labels`, drawn at random; queries of these are known,
    queries of the other `labels` unknown. The nearest distance grows as a gallery shrinks, so the
    gallery's size is part of the result. Raises ReportError for fewer than two labels, or no query.
    """
    enrolled = min(enrolled, len(labels) // 2)
    if enrolled < 1:
        raise ReportError("the open set needs two labels or more", remedy="add photos of others")
    rng = np.random.default_rng(seed)
    inside = np.isin(queries[1], labels)
    if not inside.any():
        raise ReportError("the open set needs queries of its labels", remedy="add photos of them")
    codes, truth = queries[0][inside], queries[1][inside]
    known, unknown = [], []
    for _ in range(episodes):
        chosen = rng.permutation(labels)[:enrolled]
        nearest = distances(codes, database[0][np.isin(database[1], chosen)]).min(1)
        is_known = np.isin(truth, chosen)
        known.append(nearest[is_known].astype(np.int64))
        unknown.append(nearest[~is_known].astype(np.int64))
    return open_set(np.concatenate(known), np.concatenate(unknown), bits)
