"""Rank pictures and labels by their similarity to a query."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


@dataclass(frozen=True, eq=False)
class _Look:
    """What the search found for one embedding: n rows, and L labels among them."""

    rows: NDArray[np.int64]
    """int64 [n], the nearest codes first."""
    distances: NDArray[np.int64]
    """int64 [n], bits."""
    lowered: Floats
    """float32 [n]: similarities, lowered by penalties for the position."""
    order: NDArray[np.int64]
    """int64 [P]: the place of each picture's best row in `rows`, the most similar first."""
    penalties: NDArray[np.float64] | None
    """float64 [n], bits; None without a position."""
    label_ids: NDArray[np.int64]
    """int64 [L]"""
    similarities: NDArray[np.float64]
    """float64 [L]"""
    places: NDArray[np.int64]
    """int64 [L]: the place of each label's best row in `rows`."""


def rank(
    index: FeatureIndex,
    calibration: Calibration,
    looks: Sequence[Embedding],
    k: int,
    labels: Collection[int] | None = None,
    near: QueryPosition | None = None,
) -> Ranking:
    """Return the `k` most similar pictures and the labels of the nearest codes.

    `looks` are one or two embeddings of the same thing. A picture or label is as similar as in its
    best look. `labels` restricts the search to labels with these ids. With `near`, each bit of
    penalty for the position lowers the similarity by one over the number of bits.
    """
    snapshot = index.snapshot
    row_filter = snapshot.row_filter if labels is None else snapshot.rows_with_labels(labels)
    if near is not None and snapshot.positions is not None and near.within_m is not None:
        reachable = row_filter.mask(len(snapshot.ids)) & near.reaches(snapshot.positions)
        row_filter = RowFilter(np.packbits(reachable, bitorder="little"))
    count = max(CANDIDATES, VIEWS * k)
    found = _joined(index, [_look(index, look, count, row_filter, near) for look in looks])
    named = found.label_ids != snapshot.unknown
    # Of two that are equal, what must not be named.
    ranked = np.lexsort((named, -found.similarities))

    def matched(places: NDArray[np.int64]) -> tuple[Match, ...]:
        penalties = None if found.penalties is None else found.penalties[places]
        rows, distances = found.rows[places], found.distances[places]
        return matches(snapshot, rows, distances, penalties, near, found.lowered[places])

    nearest = matched(found.places[ranked])
    names = [match.label for match in nearest]
    values = found.similarities[ranked].tolist()
    return Ranking(
        matched(found.order[:k]),
        tuple(map(LabelSimilarity, names, values, nearest)),
        calibration,
    )


def _look(
    index: FeatureIndex,
    embedding: Embedding,
    count: int,
    row_filter: RowFilter,
    near: QueryPosition | None,
) -> _Look:
    """Return the `count` nearest codes and their labels."""
    assert embedding.features is not None
    snapshot = index.snapshot
    rows, distances = snapshot.nearest_rows(code_of(index, embedding), count, row_filter)
    query = unit(embedding.features)
    prepared = index.view.metric.query(query)
    similar = lowered = index.similarities(query, rows, prepared=prepared)
    penalties = None
    if near is not None and snapshot.positions is not None:
        penalties = near.penalties(snapshot.positions[rows])
        lowered = similar - (penalties / snapshot.lookup.bits).astype(np.float32)
    best: dict[int, int] = {}
    owners = snapshot.label_ids[rows].tolist()
    order = _by_picture(index, rows, lowered)
    for place in order.tolist():
        best.setdefault(owners[place], place)
    places = np.fromiter(best.values(), np.int64, len(best))
    means = index.mean_similarities(query, list(best), prepared=prepared)
    if snapshot.unknown in best:
        # Its pictures show different things, so each counts like a label of its own.
        place = best[snapshot.unknown]
        same = index.pictures == index.pictures[rows[place]]
        mean = index.units(np.flatnonzero(same)).mean(axis=0)
        means[list(best).index(snapshot.unknown)] = index.similarity_to(query, mean)[0]
    similarities = label_similarity(similar[places], means)
    if penalties is not None:
        similarities += (lowered - similar)[places]
    label_ids = np.fromiter(best, np.int64, len(best))
    return _Look(rows, distances, lowered, order, penalties, label_ids, similarities, places)


def _joined(index: FeatureIndex, looks: Sequence[_Look]) -> _Look:
    """Return all rows of several looks, and each label as similar as in its best look."""
    if len(looks) == 1:
        return looks[0]
    starts = np.cumsum([0, *(len(look.rows) for look in looks[:-1])])
    label_ids = np.concatenate([look.label_ids for look in looks])
    similarities = np.concatenate([look.similarities for look in looks])
    moved = [look.places + start for look, start in zip(looks, starts, strict=True)]
    order = np.argsort(-similarities, kind="stable")
    best = order[np.sort(np.unique(label_ids[order], return_index=True)[1])]
    penalties = [look.penalties for look in looks if look.penalties is not None]
    rows = np.concatenate([look.rows for look in looks])
    lowered = np.concatenate([look.lowered for look in looks])
    return _Look(
        rows,
        np.concatenate([look.distances for look in looks]),
        lowered,
        _by_picture(index, rows, lowered),
        np.concatenate(penalties) if penalties else None,
        label_ids[best],
        similarities[best],
        np.concatenate(moved)[best],
    )


def _by_picture(index: FeatureIndex, rows: NDArray[np.int64], similar: Floats) -> NDArray[np.int64]:
    """Return the places of `rows`, the most similar first, each picture with its best row only."""
    order = np.lexsort((rows, -similar))
    pictures = index.snapshot.pictures
    return order if pictures is None else order[first_of_each(pictures[rows[order]])]


def label_similarity(nearest: Floats, means: Floats) -> NDArray[np.float64]:
    """Return similarities to labels [L], from those of their nearest picture and their mean."""
    similarity: NDArray[np.float64] = np.where(nearest >= SAME, 1.0, (nearest + means) / 2)
    return similarity
