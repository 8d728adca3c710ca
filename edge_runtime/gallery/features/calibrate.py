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
class Figures:
    """The similarities of enrolled pictures as queries. N is the number of pictures."""

    other: Floats
    """float32 [N]: to the most similar label but its own; NaN if there is none."""
    gap: Floats
    """float32 [N]: how much less similar the second label but its own is; NaN if there is none."""
    own: Floats
    """float32 [N]: to the other pictures of its label; NaN if there are none."""
    rival: Floats
    """float32 [N]: as `other`, but measured like `own`."""

    @classmethod
    def empty(cls, count: int) -> Figures:
        """Return figures of `count` pictures, none of which was measured yet."""
        return cls(*(np.full(count, np.nan, np.float32) for _ in range(4)))

    def calibration(self, labels: int, fitted: bool) -> Calibration:
        """Return their distributions in a gallery of `labels` labels, in a fitted metric or not."""
        gaps = self.gap[~np.isnan(self.gap)]
        crowding = float(gaps.mean()) / (labels - 1) if fitted and labels > 1 and len(gaps) else 0.0
        found = calibrate(
            self.other[~np.isnan(self.other)],
            self.own[~np.isnan(self.own)],
            max(labels, 1),
            FITTED_SCALE if fitted else PLAIN_SCALE,
            crowding,
        )
        return tried(found, self.own, self.rival)

    def right(
        self, calibration: Calibration, false_name_rate: float = FALSE_NAME_RATE
    ) -> NDArray[np.bool_]:
        """Return which of the pictures would be answered correctly, bool [N]."""
        own = np.nan_to_num(self.own, nan=-1.0)
        above = own >= calibration.threshold(false_name_rate)
        return above & (own > np.nan_to_num(self.rival, nan=-1.0))


@dataclass(frozen=True, eq=False)
class Measurement:
    """Enrolled pictures as queries, each without itself. N is the number of pictures."""

    rows: NDArray[np.int64]
    """int64 [N]: the first row of each picture."""
    figures: Figures
    """Figures of the whole pictures."""
    calibration: Calibration

    def right(self, false_name_rate: float = FALSE_NAME_RATE) -> NDArray[np.bool_]:
        """Return which of the pictures would be answered correctly, bool [N]."""
        return self.figures.right(self.calibration, false_name_rate)


def measure(
    index: FeatureIndex,
    metric: FittedMetric | None,
    without_picture: Callable[[int], Metric] | None = None,
    *,
    second_look: bool = False,
) -> Measurement:
    """Compare enrolled pictures with all labels but their own, and with their own label.

    The comparison is that of a query: the nearest codes, then the features, in a `metric` that was
    fitted without the label of the picture. None is the plain cosine. `without_picture` gives, for
    a row, a metric that was fitted to other pictures of its label, but not to its own: known things
    are as similar as this one says. A picture counts with its first code, the whole picture. With
    `second_look`, its second code, the middle, is measured for `Calibration.closer` as well, if all
    pictures have one. Pictures of the label `UNKNOWN` are strangers to all other labels, and
    nothing else is compared with them. Deterministic.
    """
    owners = index.snapshot.label_ids
    pictures = index.first_rows()
    middles = index.second_rows() if second_look else None
    if len(pictures) > MOST_PICTURES:
        chosen = np.random.default_rng(SEED).permutation(len(pictures))[:MOST_PICTURES]
        pictures = pictures[np.sort(chosen)]
        middles = None if middles is None else middles[np.sort(chosen)]
    views = Views(index)
    plain = Metric.plain(index.values.shape[1])
    pairs = _Pairs()
    once, twice = Figures.empty(len(pictures)), Figures.empty(len(pictures))
    for place, row in enumerate(pictures.tolist()):
        own = int(owners[row])
        looks = [row] if middles is None else [row, int(middles[place])]
        used = views.of(plain if metric is None else metric.without(own))
        others = [_similarities_elsewhere(index, look, own, used) for look in looks]
        rivals = others
        if metric is not None and without_picture is not None:
            used = views.of(without_picture(row))
            rivals = [_similarities_elsewhere(index, look, own, used) for look in looks]
        same = []
        if own != index.snapshot.unknown:
            same = [_similarity_to_own(index, look, own, used) for look in looks]
            pairs.add(own, index.units(np.array([row]))[0], *others[0])
        _note(once, place, others[:1], rivals[:1], same[:1])
        _note(twice, place, others, rivals, same)
    labels = len(np.unique(owners[pictures[~np.isnan(once.other)]]))
    together = pairs.estimate()
    calibration = replace(
        once.calibration(labels, metric is not None),
        several_drop=together.drop,
        several_between=together.between,
    )
    if middles is not None:
        calibration = replace(calibration, closer=twice.calibration(labels, metric is not None))
    return Measurement(pictures, once, calibration)


LabelValues = tuple[LabelIds, Floats]
"""Label ids [L] and the similarity to each, float32 [L], descending."""


@dataclass
class _Pairs:
    """Pairs of pictures of one label, compared with all other labels."""

    last: dict[int, list[tuple[Floats, Floats, LabelIds]]] = field(default_factory=dict)
    """Of each label, the last pictures: their features, and similarities with their labels."""
    single: list[tuple[float, float]] = field(default_factory=list)
    both: list[float] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)
    labels: set[int] = field(default_factory=set)

    def add(self, own: int, query: Floats, ids: LabelIds, similar: Floats) -> None:
        """Pair a picture with the last ones of its label `own`; copies of a photo do not count."""
        if not len(similar) or similar[0] >= SAME:
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


def _note(
    figures: Figures,
    place: int,
    others: list[LabelValues],
    rivals: list[LabelValues],
    same: list[float | None],
) -> None:
    """Enter what the looks at a picture found; a label is as similar as in its best look."""
    found = _best(others)
    if len(found):
        figures.other[place] = found[0]
    if len(found) > 1:
        figures.gap[place] = found[0] - found[1]
    rival = _best(rivals)
    if len(rival):
        figures.rival[place] = rival[0]
    own = [value for value in same if value is not None]
    if own:
        figures.own[place] = max(own)


def _best(looks: list[LabelValues]) -> Floats:
    """Return the highest similarity to each label, in descending order."""
    if len(looks) == 1:
        return looks[0][1]
    labels, inverse = np.unique(np.concatenate([each for each, _ in looks]), return_inverse=True)
    highest = np.full(len(labels), -1, np.float32)
    np.maximum.at(highest, inverse, np.concatenate([values for _, values in looks]))
    return np.sort(highest)[::-1]


def _similarities_elsewhere(
    index: FeatureIndex, row: int, own: int, view: MetricView
) -> LabelValues:
    """Return the similarities of the labels near `row` that are not `own`."""
    snapshot = index.snapshot
    elsewhere = snapshot.label_ids != own
    if snapshot.unknown is not None:
        elsewhere &= snapshot.label_ids != snapshot.unknown
    passing = RowFilter(np.packbits(elsewhere, bitorder="little"))
    query = index.units(np.array([row]))[0]
    rows, _ = snapshot.nearest_rows(snapshot.lookup.codes[row], CANDIDATES, passing)
    similar = index.similarities(query, rows, view)
    labels, inverse = np.unique(snapshot.label_ids[rows], return_inverse=True)
    nearest = np.full(len(labels), -1, np.float32)
    np.maximum.at(nearest, inverse, similar)
    means = index.mean_similarities(query, labels.tolist(), view)
    found = label_similarity(nearest, means).astype(np.float32)
    order = np.argsort(-found, kind="stable")
    return labels[order], found[order]


def _similarity_to_own(index: FeatureIndex, row: int, own: int, view: MetricView) -> float | None:
    """Return the similarity to the other pictures of the label; None if there is none."""
    snapshot = index.snapshot
    rest = (snapshot.label_ids == own) & (index.pictures != index.pictures[row])
    if not rest.any():
        return None
    query = index.units(np.array([row]))[0]
    passing = RowFilter(np.packbits(rest, bitorder="little"))
    near, _ = snapshot.nearest_rows(snapshot.lookup.codes[row], CANDIDATES, passing)
    nearest = index.similarities(query, near, view).max()[np.newaxis]
    rows = np.flatnonzero(rest)
    if len(rows) > MOST_ROWS:
        rows = rows[:: len(rows) // MOST_ROWS + 1]
    mean = index.similarity_to(query, index.units(rows).mean(axis=0), view)
    return float(label_similarity(nearest, mean)[0])
