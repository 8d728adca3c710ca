"""Measure in a gallery how similar strangers and known things are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.calibration import (
    FALSE_NAME_RATE,
    FITTED_SCALE,
    PLAIN_SCALE,
    SAME,
    Calibration,
    calibrate,
    tried,
)
from edge_runtime.fitting.metric import FittedMetric, Metric
from edge_runtime.fitting.quantized import Floats
from edge_runtime.fitting.several import Several, several
from edge_runtime.gallery.features.index import FeatureIndex, MetricView, Views
from edge_runtime.gallery.features.search import CANDIDATES, label_similarity
from edge_runtime.lookup import RowFilter

LabelIds = NDArray[np.integer[Any]]
MOST_PICTURES = 300
"""Pictures that are compared with the others, at most; bounds the time."""
MOST_ROWS = 300
"""Rows that the mean of a label is computed from here, at most."""
MOST_PAIRS = 4
"""Earlier pictures of its label that a picture is paired with, at most."""
SEED = 1


@dataclass(frozen=True, eq=False)
class Measurement:
    """Enrolled pictures as queries, each without itself. N is the number of pictures."""

    rows: NDArray[np.int64]
    """int64 [N]: the first row of each picture."""
    other: Floats
    """float32 [N]: the similarity to the most similar label but its own; NaN if there is none."""
    gap: Floats
    """float32 [N]: how much less similar the second label but its own is; NaN if there is none."""
    own: Floats
    """float32 [N]: the similarity to the other pictures of its label; NaN if there are none."""
    rival: Floats
    """float32 [N]: as `other`, but measured like `own`."""
    calibration: Calibration

    def right(self, false_name_rate: float = FALSE_NAME_RATE) -> NDArray[np.bool_]:
        """Return which of the pictures would be answered correctly, bool [N]."""
        own = np.nan_to_num(self.own, nan=-1.0)
        above = own >= self.calibration.threshold(false_name_rate)
        return above & (own > np.nan_to_num(self.rival, nan=-1.0))


def measure(
    index: FeatureIndex,
    metric: FittedMetric | None,
    without_picture: Callable[[int], Metric] | None = None,
) -> Measurement:
    """Compare enrolled pictures with all labels but their own, and with their own label.

    The comparison is that of a query: the nearest codes, then the features, in a `metric` that was
    fitted without the label of the picture. None is the plain cosine. `without_picture` gives, for
    a row, a metric that was fitted to other pictures of its label, but not to its own: known things
    are as similar as this one says. A picture counts with its first code, the whole picture.
    Pictures of the label `UNKNOWN` are strangers to all other labels, and nothing else is compared
    with them. Deterministic.
    """
    owners = index.snapshot.label_ids
    pictures = index.first_rows()
    if len(pictures) > MOST_PICTURES:
        chosen = np.random.default_rng(SEED).permutation(len(pictures))[:MOST_PICTURES]
        pictures = pictures[np.sort(chosen)]
    views = Views(index)
    plain = Metric.plain(index.values.shape[1])
    figures = np.full((4, len(pictures)), np.nan, np.float32)
    pairs = _Pairs()
    for place, row in enumerate(pictures.tolist()):
        own = int(owners[row])
        used = views.of(plain if metric is None else metric.without(own))
        query = index.units(np.array([row]))[0]
        others, labels_of_others = _similarities_elsewhere(index, query, row, own, used)
        if len(others):
            figures[0, place] = others[0]
            if own != index.snapshot.unknown:
                pairs.add(own, query, others, labels_of_others)
        if len(others) > 1:
            figures[1, place] = others[0] - others[1]
        if metric is not None and without_picture is not None:
            used = views.of(without_picture(row))
            others, _ = _similarities_elsewhere(index, query, row, own, used)
        if len(others):
            figures[3, place] = others[0]
        stranger = own == index.snapshot.unknown
        same = None if stranger else _similarity_to_own(index, query, row, own, used)
        if same is not None:
            figures[2, place] = same
    other, gap, own_similarity, rival = figures
    labels = len(np.unique(owners[pictures[~np.isnan(other)]]))
    gaps = gap[~np.isnan(gap)]
    crowding = float(gaps.mean()) / (labels - 1) if metric and labels > 1 and len(gaps) else 0.0
    calibration = calibrate(
        other[~np.isnan(other)],
        own_similarity[~np.isnan(own_similarity)],
        max(labels, 1),
        FITTED_SCALE if metric else PLAIN_SCALE,
        crowding,
    )
    together = pairs.estimate()
    calibration = replace(
        tried(calibration, own_similarity, rival),
        several_drop=together.drop,
        several_between=together.between,
    )
    return Measurement(pictures, other, gap, own_similarity, rival, calibration)


@dataclass
class _Pairs:
    """Pairs of pictures of one label, compared with all other labels."""

    last: dict[int, list[tuple[Floats, Floats, LabelIds]]] = field(default_factory=dict)
    """Of each label, the last pictures: their features, and similarities with their labels."""
    single: list[tuple[float, float]] = field(default_factory=list)
    both: list[float] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)
    labels: set[int] = field(default_factory=set)

    def add(self, own: int, query: Floats, similar: Floats, ids: LabelIds) -> None:
        """Pair a picture with the last ones of its label `own`; copies of a photo do not count."""
        if similar[0] >= SAME:
            return
        last = self.last.setdefault(own, [])
        for before, earlier, earlier_ids in last:
            names = np.union1d(ids, earlier_ids)
            total = _filled(names, ids, similar) + _filled(names, earlier_ids, earlier)
            self.single.append((float(similar[0]), float(earlier[0])))
            self.both.append(float(total.max()) / 2)
            self.cosines.append(float(query @ before))
            self.labels.add(own)
        self.last[own] = [(query, similar, ids), *last[: MOST_PAIRS - 1]]

    def estimate(self) -> Several:
        """Return what they tell about several photos of one stranger."""
        single = np.array(self.single).reshape(-1, 2)
        return several(single, np.array(self.both), np.array(self.cosines), len(self.labels))


def _filled(names: LabelIds, ids: LabelIds, similar: Floats) -> Floats:
    """Return the similarity of each of `names`; one that is not in `ids` counts as the lowest."""
    found = np.full(len(names), similar[-1], np.float32)
    found[np.searchsorted(names, ids)] = similar
    return found


def _similarities_elsewhere(
    index: FeatureIndex, query: Floats, row: int, own: int, view: MetricView
) -> tuple[Floats, LabelIds]:
    """Return the similarities of labels that are not `own`, descending, and their ids."""
    snapshot = index.snapshot
    elsewhere = snapshot.label_ids != own
    if snapshot.unknown is not None:
        elsewhere &= snapshot.label_ids != snapshot.unknown
    passing = RowFilter(np.packbits(elsewhere, bitorder="little"))
    code = snapshot.lookup.codes[row]
    rows, _ = snapshot.nearest_rows(code, CANDIDATES, passing)
    similar = index.similarities(query, rows, view)
    labels, inverse = np.unique(snapshot.label_ids[rows], return_inverse=True)
    nearest = np.full(len(labels), -1, np.float32)
    np.maximum.at(nearest, inverse, similar)
    means = index.mean_similarities(query, labels.tolist(), view)
    found = label_similarity(nearest, means).astype(np.float32)
    order = np.argsort(-found, kind="stable")
    return found[order], labels[order]


def _similarity_to_own(
    index: FeatureIndex, query: Floats, row: int, own: int, view: MetricView
) -> float | None:
    """Return the similarity to the other pictures of the label; None if there is none."""
    snapshot = index.snapshot
    rest = (snapshot.label_ids == own) & (index.pictures != index.pictures[row])
    if not rest.any():
        return None
    code = snapshot.lookup.codes[row]
    passing = RowFilter(np.packbits(rest, bitorder="little"))
    near, _ = snapshot.nearest_rows(code, CANDIDATES, passing)
    nearest = index.similarities(query, near, view).max()[np.newaxis]
    rows = np.flatnonzero(rest)
    if len(rows) > MOST_ROWS:
        rows = rows[:: len(rows) // MOST_ROWS + 1]
    mean = index.similarity_to(query, index.units(rows).mean(axis=0), view)
    return float(label_similarity(nearest, mean)[0])
