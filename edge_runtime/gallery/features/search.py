"""Rank pictures and labels by their similarity to a query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, Embedding
from edge_runtime.fitting.calibration import SAME, Calibration
from edge_runtime.fitting.quantized import Floats, unit
from edge_runtime.gallery.features.index import FeatureIndex
from edge_runtime.gallery.query import VIEWS, first_of_each, matches
from edge_runtime.lookup import RowFilter
from edge_runtime.position import QueryPosition
from edge_runtime.types import LabelSimilarity, Match

CANDIDATES = 100
"""Nearest codes whose features are compared."""


@dataclass(frozen=True)
class Ranking:
    """The result of a search."""

    matches: tuple[Match, ...]
    """Pictures, the most similar first."""
    labels: tuple[LabelSimilarity, ...]
    """Labels among the candidates, the most similar first."""
    calibration: Calibration


def code_of(index: FeatureIndex, embedding: Embedding) -> Code:
    """Return the code (uint64 [W]) that is searched: that of the fitted layer if there is one."""
    if index.fit.layer is None or embedding.features is None:
        return embedding.code
    return index.fit.layer.codes(embedding.features)


def rank(
    index: FeatureIndex,
    calibration: Calibration,
    embedding: Embedding,
    k: int,
    labels: Collection[int] | None = None,
    near: QueryPosition | None = None,
) -> Ranking:
    """Return the `k` most similar pictures and the labels of the nearest codes.

    `labels` restricts the search to labels with these ids. With `near`, each bit of penalty for the
    position lowers the similarity by one over the number of bits.
    """
    assert embedding.features is not None
    snapshot = index.snapshot
    row_filter = snapshot.row_filter if labels is None else snapshot.rows_with_labels(labels)
    positions = None if near is None else snapshot.positions
    if near is not None and positions is not None and near.within_m is not None:
        reachable = row_filter.mask(len(snapshot.ids)) & near.reaches(positions)
        row_filter = RowFilter(np.packbits(reachable, bitorder="little"))
    count = max(CANDIDATES, VIEWS * k)
    rows, distances = snapshot.nearest_rows(code_of(index, embedding), count, row_filter)
    query = unit(embedding.features)
    similar = index.similarities(query, rows)
    penalties = None
    lowered = similar
    if near is not None and positions is not None:
        penalties = near.penalties(positions[rows])
        lowered = similar - (penalties / snapshot.lookup.bits).astype(np.float32)
    order = np.lexsort((rows, -lowered))
    if snapshot.pictures is not None:
        order = order[first_of_each(snapshot.pictures[rows[order]])]
    best: dict[int, int] = {}
    owners = snapshot.label_ids[rows].tolist()
    for place in order.tolist():
        best.setdefault(owners[place], place)
    places = np.fromiter(best.values(), np.int64, len(best))
    means = index.mean_similarities(query, list(best))
    if snapshot.unknown in best:
        # Its pictures show different things, so each counts like a label of its own.
        place = best[snapshot.unknown]
        same = index.pictures == index.pictures[rows[place]]
        mean = index.units(np.flatnonzero(same)).mean(axis=0)
        means[list(best).index(snapshot.unknown)] = index.similarity_to(query, mean)[0]
    similarities = label_similarity(similar[places], means)
    if penalties is not None:
        similarities += (lowered - similar)[places]
    named = np.fromiter((owner != snapshot.unknown for owner in best), np.bool_, len(best))
    ranked = np.lexsort((named, -similarities))  # of two that are equal, what must not be named

    def found(places: NDArray[np.int64]) -> tuple[Match, ...]:
        chosen = None if penalties is None else penalties[places]
        return matches(snapshot, rows[places], distances[places], chosen, near, lowered[places])

    labels_found = zip(similarities[ranked].tolist(), found(places[ranked]), strict=True)
    return Ranking(
        found(order[:k]),
        tuple(LabelSimilarity(match.label, value, match) for value, match in labels_found),
        calibration,
    )


def label_similarity(nearest: Floats, means: Floats) -> NDArray[np.float64]:
    """Return similarities to labels [L], from those of their nearest picture and their mean."""
    similarity: NDArray[np.float64] = np.where(nearest >= SAME, 1.0, (nearest + means) / 2)
    return similarity
