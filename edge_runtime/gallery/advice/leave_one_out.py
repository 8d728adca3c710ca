"""Query each enrolled picture against the others, as a new photo would be.

The picture is left out, and so are its near duplicates under the same label: a new photo has none.
The search is that of `Gallery.rank`: the nearest codes, then the similarity of their labels. A
similarity that was fitted to the gallery is replaced by one fitted without the label, since
a fit makes what it was fitted to look alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.calibration import SAME
from edge_runtime.fitting.quantized import Floats
from edge_runtime.gallery.features.index import FeatureIndex, MetricView, Views
from edge_runtime.gallery.features.search import CANDIDATES, label_similarity
from edge_runtime.lookup import RowFilter

SEED = 1
_QUERIES = 64
"""Pictures that are compared with all rows of their label at a time."""
_PART = 4096
"""Rows that are converted to float at a time."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Nearest:
    """The most similar picture of a label, and the similarity to the label."""

    label_id: int
    row: int
    cosine: float
    """In the metric of the gallery."""
    similarity: float


@dataclass(frozen=True)
class Trial:
    """A picture that was left out and queried."""

    row: int
    """Its first row, the code of the whole picture."""
    label_id: int
    own: Nearest | None
    """Its own label without it; None if the label has no other picture."""
    other: Nearest | None
    """The most similar other label; None if there is none."""
    best: Nearest | None
    """The label that a query finds first; None if nothing is left."""
    copies: tuple[int, ...]
    """First rows of its near duplicates under its own label."""
    copy_elsewhere: tuple[int, float] | None
    """The first row of its most similar near duplicate under another label, and the cosine."""

    @property
    def margin(self) -> float | None:
        """How much more similar its own label is than any other; None if one is missing."""
        if self.own is None or self.other is None:
            return None
        return self.own.similarity - self.other.similarity


def sampled(rows: Rows, label_ids: NDArray[np.uint32], most: int) -> Rows:
    """Return up to `most` of `rows`, as evenly from all labels as possible, ascending.

    `label_ids` [n] are those of all rows. Deterministic.
    """
    if len(rows) <= most:
        return rows
    order = np.random.default_rng(SEED).permutation(rows)
    by_label: dict[int, list[int]] = {}
    for row in order.tolist():
        by_label.setdefault(int(label_ids[row]), []).append(row)
    turns = (row for turn in zip_longest(*by_label.values()) for row in turn if row is not None)
    return np.sort(np.fromiter(turns, np.int64, len(rows))[:most])


def leave_one_out(
    index: FeatureIndex, most: int, labels: Collection[int] | None = None
) -> list[Trial]:
    """Query up to `most` pictures, of `labels` (ids) or of all, each without itself.

    The result is in the order of the rows.
    """
    rows = index.first_rows()
    owners = index.snapshot.label_ids
    if labels is not None:
        rows = rows[np.isin(owners[rows], list(labels))]
    queries = sampled(rows, owners, most)
    views = Views(index)
    trials = [
        trial
        for label in np.unique(owners[queries]).tolist()
        for trial in _trials_of(
            index, views.without(label), label, queries[owners[queries] == label]
        )
    ]
    return sorted(trials, key=lambda trial: trial.row)


def _trials_of(index: FeatureIndex, view: MetricView, label: int, queries: Rows) -> Iterator[Trial]:
    """Yield the trials of pictures of one label."""
    snapshot = index.snapshot
    pictures = index.pictures
    own_rows = np.flatnonzero(snapshot.label_ids == label)
    firsts = np.unique(pictures[own_rows], return_inverse=True)[1]
    # A copy is a picture whose whole, not a crop, is the same.
    whole = pictures[own_rows] == snapshot.ids[own_rows]
    others = RowFilter(np.packbits(snapshot.label_ids != label, bitorder="little"))
    total = sum(units.sum(axis=0) for _, units in _parts(index, own_rows))
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES]
        units = index.units(block)
        cosines = np.concatenate([units @ part.T for _, part in _parts(index, own_rows)], axis=1)
        for row, unit, own_cosines in zip(block.tolist(), units, cosines, strict=True):
            gone = np.zeros(len(own_rows), np.bool_)  # by the numbers of `firsts`
            gone[firsts[(own_cosines >= SAME) & whole]] = True
            gone[firsts[np.searchsorted(own_rows, row)]] = True
            left_out = gone[firsts]
            yield _trial(index, view, row, unit, own_rows, own_cosines, left_out, total, others)


def _parts(index: FeatureIndex, rows: Rows) -> Iterator[tuple[Rows, Floats]]:
    for start in range(0, len(rows), _PART):
        part = rows[start : start + _PART]
        yield part, index.units(part)


def _trial(
    index: FeatureIndex,
    view: MetricView,
    row: int,
    unit: Floats,
    own_rows: Rows,
    own_cosines: Floats,
    left_out: NDArray[np.bool_],
    total: Floats,
    others: RowFilter,
) -> Trial:
    snapshot = index.snapshot
    label = int(snapshot.label_ids[row])
    gone, kept = own_rows[left_out], own_rows[~left_out]
    own = mean = None
    if len(kept):
        mean = (total - index.units(gone).sum(axis=0)) / np.float32(len(kept))
        place = int(np.argmax(np.where(left_out, -2, own_cosines)))
        own = _nearest(index, view, unit, label, int(own_rows[place]), mean)
    code = snapshot.lookup.codes[row]
    elsewhere, _ = snapshot.nearest_rows(code, CANDIDATES, others)
    foreign = _labels(index, view, unit, elsewhere, label, None)
    other = max(foreign, key=lambda one: one.similarity, default=None)
    remaining = np.ones(len(snapshot.ids), np.bool_)
    remaining[gone] = False
    passing = RowFilter(np.packbits(remaining, bitorder="little"))
    near, _ = snapshot.nearest_rows(code, CANDIDATES, passing)
    found = _labels(index, view, unit, near, label, mean)
    ids = snapshot.ids
    pictures = index.pictures
    copies = np.setdiff1d(np.searchsorted(ids, np.unique(pictures[gone])), [row])
    same = max(foreign, key=lambda one: one.cosine, default=None)
    copy = None
    if same is not None and same.cosine >= SAME:
        copy = int(np.searchsorted(ids, pictures[same.row])), same.cosine
    return Trial(
        row,
        label,
        own,
        other,
        max(found, key=lambda one: one.similarity, default=None),
        tuple(copies.tolist()),
        copy,
    )


def _labels(
    index: FeatureIndex,
    view: MetricView,
    unit: Floats,
    rows: Rows,
    own: int,
    own_mean: Floats | None,
) -> list[Nearest]:
    """Return the labels of `rows` with their most similar row, as `Gallery.rank` ranks them."""
    cosines = index.similarities(unit, rows, view)
    owners = index.snapshot.label_ids[rows]
    best: dict[int, int] = {}
    for place in np.lexsort((rows, -cosines)).tolist():
        best.setdefault(int(owners[place]), place)
    if not best:
        return []
    places = list(best.values())
    means = index.mean_similarities(unit, list(best), view)
    if own in best and own_mean is not None:
        means[list(best).index(own)] = index.similarity_to(unit, own_mean, view)[0]
    similarities = label_similarity(cosines[places], means)
    return [
        Nearest(label, int(rows[place]), float(cosines[place]), float(similarity))
        for (label, place), similarity in zip(best.items(), similarities, strict=True)
    ]


def _nearest(
    index: FeatureIndex, view: MetricView, unit: Floats, label: int, row: int, mean: Floats
) -> Nearest:
    nearest = index.similarities(unit, np.array([row]), view)
    similarity = label_similarity(nearest, index.similarity_to(unit, mean, view))[0]
    return Nearest(label, row, float(nearest[0]), float(similarity))
