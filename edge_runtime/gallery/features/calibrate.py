"""Measure in a gallery how similar strangers and known things are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.calibration import (
    FALSE_NAME_RATE,
    FITTED_SCALE,
    PLAIN_SCALE,
    Calibration,
    calibrate,
    tried,
)
from edge_runtime.fitting.metric import FittedMetric, Metric
from edge_runtime.fitting.quantized import Floats
from edge_runtime.gallery.features.index import FeatureIndex, MetricView, Views
from edge_runtime.gallery.features.search import CANDIDATES, label_similarity
from edge_runtime.lookup import RowFilter

MOST_PICTURES = 300
"""Pictures that are compared with the others, at most; bounds the time."""
MOST_ROWS = 300
"""Rows that the mean of a label is computed from here, at most."""
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
    for place, row in enumerate(pictures.tolist()):
        own = int(owners[row])
        used = views.of(plain if metric is None else metric.without(own))
        query = index.units(np.array([row]))[0]
        others = _similarities_elsewhere(index, query, row, own, used)
        if len(others):
            figures[0, place] = others[0]
        if len(others) > 1:
            figures[1, place] = others[0] - others[1]
        if metric is not None and without_picture is not None:
            used = views.of(without_picture(row))
            others = _similarities_elsewhere(index, query, row, own, used)
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
    calibration = tried(calibration, own_similarity, rival)
    return Measurement(pictures, other, gap, own_similarity, rival, calibration)


def _similarities_elsewhere(
    index: FeatureIndex, query: Floats, row: int, own: int, view: MetricView
) -> NDArray[np.float64]:
    """Return the similarities of labels that are not `own`, descending."""
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
    return np.sort(label_similarity(nearest, means))[::-1]


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
