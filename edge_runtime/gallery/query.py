"""Search a snapshot for the nearest pictures or codes, by Hamming distance and by position."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from edge_runtime.gallery.changes import no_such_label
from edge_runtime.gallery.records import check_label
from edge_runtime.gallery.snapshot.packed import Snapshot
from edge_runtime.lookup import RowFilter
from edge_runtime.position import PositionArray, QueryPosition, ground_distance_m
from edge_runtime.types import Match

VIEWS = 6
"""More codes than this are rare in a picture. A search for k pictures begins with VIEWS * k codes;
if these are of fewer pictures, it is repeated with twice as many."""


def nearest(
    snapshot: Snapshot,
    code: Code,
    k: int,
    labels: Collection[int] | None = None,
    near: QueryPosition | None = None,
    radius: int | None = None,
) -> tuple[Match, ...]:
    """Return the `k` pictures nearest to `code` (uint64 [W]): exact, ties by id.

    The match of a picture is the nearest of its codes. `labels` restricts the search to labels with
    these ids, `radius` to codes at most that many bits away. With `near`, the order is that of the
    score: the distance plus the penalty for the position.
    """
    row_filter = snapshot.row_filter if labels is None else snapshot.rows_with_labels(labels)
    if near is not None and snapshot.positions is not None:
        return _nearest_by_score(snapshot, snapshot.positions, code, k, row_filter, near, radius)
    take = k if snapshot.pictures is None else VIEWS * k
    while True:
        rows, distances = snapshot.nearest_rows(code, take, row_filter)
        found = _nearest_pictures(snapshot, rows, distances, k, take, radius)
        if found is not None:
            return found
        take *= 2


def nearest_to_each(
    snapshot: Snapshot, codes: Code, k: int, radius: int | None = None
) -> list[tuple[Match, ...]]:
    """Return `nearest` for each of `codes` (uint64 [m, W]).

    All codes are read in one pass, unless an index answers each query in less time.
    """
    if len(codes) == 1 or snapshot.lookup.planner.index is not None:
        return [nearest(snapshot, code, k, radius=radius) for code in codes]
    take = k if snapshot.pictures is None else VIEWS * k
    every_row, every_distance = snapshot.lookup.nearest_batch(codes, take, snapshot.row_filter)
    answers = []
    for code, rows, distances in zip(codes, every_row, every_distance, strict=True):
        found = _nearest_pictures(snapshot, rows, distances, k, take, radius)
        answers.append(nearest(snapshot, code, k, radius=radius) if found is None else found)
    return answers


def _nearest_pictures(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    distances: NDArray[np.int64],
    k: int,
    take: int,
    radius: int | None,
) -> tuple[Match, ...] | None:
    """Return the `k` nearest pictures of the `take` nearest rows; None if more rows are needed."""
    end = _end_within(distances, radius)
    if snapshot.pictures is None:
        return matches(snapshot, rows[:end], distances[:end])
    # The codes are sorted, so the first of a picture is its nearest.
    best = first_of_each(snapshot.pictures[rows[:end]])[:k]
    if len(best) == k or end < len(rows) or len(rows) < take:
        return matches(snapshot, rows[best], distances[best])
    return None


def _end_within(distances: NDArray[np.int64], radius: int | None) -> int:
    """Return how many of the sorted `distances` are within `radius` bits."""
    return len(distances) if radius is None else int(np.searchsorted(distances, radius, "right"))


def _nearest_by_score(
    snapshot: Snapshot,
    positions: PositionArray,
    code: Code,
    k: int,
    row_filter: RowFilter,
    near: QueryPosition,
    radius: int | None,
) -> tuple[Match, ...]:
    if near.within_m is not None:
        reachable = row_filter.mask(len(snapshot.ids)) & near.reaches(positions)
        row_filter = RowFilter(np.packbits(reachable, bitorder="little"))
    # A penalty is never negative. A code whose distance exceeds the k-th best score cannot rank
    # among the best k, so more and more of the nearest codes are scored until that is reached.
    take = 4 * k if snapshot.pictures is None else 4 * VIEWS * k
    while True:
        rows, distances = snapshot.nearest_rows(code, take, row_filter)
        end = _end_within(distances, radius)
        last = len(rows) < take or end < len(rows)
        rows, distances = rows[:end], distances[:end]
        penalties = near.penalties(positions[rows])
        scores = distances + penalties
        best = np.lexsort((rows, scores))
        if snapshot.pictures is not None:
            best = best[first_of_each(snapshot.pictures[rows[best]])]
        best = best[:k]
        if last or not k or (len(best) == k and scores[best[-1]] < distances[-1]):
            return matches(snapshot, rows[best], distances[best], penalties[best], near)
        take *= 4


def first_of_each(pictures: NDArray[np.int64]) -> list[int]:
    """Return the index of each picture's first occurrence, in order.

    For the few codes of a search, a dict is faster than `np.unique`.
    """
    firsts: dict[int, int] = {}
    for index, picture in enumerate(pictures.tolist()):
        firsts.setdefault(picture, index)
    return list(firsts.values())


def within(
    snapshot: Snapshot, code: Code, radius: int, labels: Collection[int] | None = None
) -> tuple[Match, ...]:
    """Return all codes within `radius` bits of `code`, nearest first, ties by id.

    Each code of a picture is a match of its own.
    """
    row_filter = snapshot.row_filter if labels is None else snapshot.rows_with_labels(labels)
    return matches(snapshot, *snapshot.lookup.within(code, radius, row_filter))


def label_ids(snapshot: Snapshot, labels: Collection[str] | None) -> list[int] | None:
    """Return the ids of `labels`, None for all labels; raises `NotEnrolledError`."""
    if labels is None:
        return None
    wanted = {check_label(label): label for label in labels}
    ids = {name: number for number, name in snapshot.labels.items() if name in wanted}
    for name, label in wanted.items():
        if name not in ids:
            raise no_such_label(label)
    return list(ids.values())


def matches(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    distances: NDArray[np.int64],
    penalties: NDArray[np.float64] | None = None,
    near: QueryPosition | None = None,
    similarities: NDArray[np.float32] | None = None,
) -> tuple[Match, ...]:
    """Return rows as matches, with their ids and labels."""
    plain = zip(
        snapshot.ids[rows].tolist(),
        snapshot.label_ids[rows].tolist(),
        distances.tolist(),
        [None] * len(rows) if similarities is None else similarities.tolist(),
        strict=True,
    )
    names = snapshot.labels
    if penalties is None or near is None or snapshot.positions is None:
        return tuple([Match(i, names[n], bits, similarity=alike) for i, n, bits, alike in plain])
    away_m = ground_distance_m(near.position, snapshot.positions[rows]).tolist()
    return tuple(
        Match(i, names[n], bits, "", penalty, None if far != far else far, alike)
        for (i, n, bits, alike), penalty, far in zip(plain, penalties.tolist(), away_m, strict=True)
    )
