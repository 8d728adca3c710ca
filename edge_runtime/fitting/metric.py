"""The similarity of features, fitted to a gallery: cosines after the nuisance is damped.

The features are moved by the mean of the labels, and the directions in which photos of one thing
differ most are damped, as whitening by the covariance within labels would (within-class covariance
normalization; Hatch et al. 2006). What all things of a gallery have in common, and what changes
from photo to photo, then counts less. A few directions are enough, and few parameters are learned
well from few photos.

A metric makes the photos that it was fitted to look more alike. Therefore one is fitted without
each group of labels, too: the similarities of strangers are measured with these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.prior import FeaturePrior
from edge_runtime.fitting.quantized import Floats, unit
from edge_runtime.fitting.within import Scatter, Spectrum, WithinLabels, pooled

DIRECTIONS = 32
"""Directions that are damped."""
FOLDS = 8
"""Groups of labels that a metric is fitted without."""


@dataclass(frozen=True, eq=False)
class Query:
    """A query prepared for cosines with many features."""

    vector: Floats
    """float32 [F]"""
    offset: float
    length: float


@dataclass(frozen=True, eq=False)
class Metric:
    """A map of features of length 1: x - center, with some directions damped."""

    center: Floats
    """float32 [F]"""
    directions: Floats
    """float32 [R, F], orthonormal rows."""
    damping: Floats
    """float32 [R]: the share of each direction that is removed, 0 to 1."""

    @classmethod
    def plain(cls, features: int) -> Metric:
        """Return the metric of the plain cosine."""
        nothing = np.zeros(0, np.float32)
        return cls(np.zeros(features, np.float32), nothing.reshape(0, features), nothing)

    def query(self, features: Floats) -> Query:
        """Prepare a query, float32 [F] of length 1.

        Both sides of the cosine are mapped, but the map is symmetric: it is applied twice to the
        query, and features stay as they are stored.
        """
        once = self._damped(features - self.center)
        twice = self._damped(once)
        return Query(twice, float(twice @ self.center), float(np.sqrt(once @ once)))

    def lengths(self, rows: Floats) -> Floats:
        """Return the lengths, float32 [N], of mapped `rows` float32 [N, F]."""
        if not len(self.directions) and not self.center.any():
            plain: Floats = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            return np.maximum(plain, np.float32(1e-6))
        moved: Floats = (rows - self.center).astype(np.float32, copy=False)
        along: Floats = moved @ self.directions.T
        removed = np.square(along) @ (self.damping * (2 - self.damping))
        squares = np.einsum("ij,ij->i", moved, moved) - removed
        lengths: Floats = np.sqrt(np.maximum(squares, 1e-12)).astype(np.float32)
        return lengths

    def cosines(self, query: Query, products: Floats, lengths: Floats) -> Floats:
        """Return cosines [N] from the products [N] of rows with `query.vector`, and `lengths`."""
        scale = lengths * np.float32(max(query.length, 1e-6))
        cosines: Floats = (products - np.float32(query.offset)) / scale
        return cosines.astype(np.float32, copy=False)

    def _damped(self, moved: Floats) -> Floats:
        along: Floats = self.damping * (self.directions @ moved)
        damped: Floats = moved - along @ self.directions
        return damped


@dataclass(frozen=True, eq=False)
class FittedMetric:
    """A metric and those that were fitted without some labels."""

    metric: Metric
    folds: tuple[Metric, ...]
    """One of N is fitted without every N-th label; the first without the first of `label_ids`."""
    label_ids: NDArray[np.int64]
    """int64 [L], ascending: the labels that `metric` was fitted to."""

    def without(self, label_id: int) -> Metric:
        """Return a metric that was not fitted to this label."""
        place = int(np.searchsorted(self.label_ids, label_id))
        if place < len(self.label_ids) and self.label_ids[place] == label_id:
            return self.folds[place % len(self.folds)]
        return self.metric

    def to_bytes(self) -> bytes:
        """Return the values as little-endian: the metrics in float16, and then the label ids.

        A metric is its center, its directions and its damping.
        """
        parts = [
            part.astype("<f2").tobytes()
            for one in (self.metric, *self.folds)
            for part in (one.center, one.directions, one.damping)
        ]
        return b"".join([*parts, self.label_ids.astype("<i8").tobytes()])

    @classmethod
    def from_bytes(cls, data: bytes, features: int, directions: int, folds: int) -> FittedMetric:
        """Return what `to_bytes` stored; raises ValueError if the size or a value is wrong."""
        shape = (folds + 1, (directions + 1) * features + directions)
        size = 2 * shape[0] * shape[1]
        if min(features, folds) < 1 or directions < 0 or len(data) < size or (len(data) - size) % 8:
            raise ValueError(f"{len(data)} bytes are not a metric of {directions} directions")
        values = np.frombuffer(data[:size], "<f2").astype(np.float32).reshape(shape)
        if not np.isfinite(values).all():
            raise ValueError("a value of the metric is not a finite number")
        ends = (features, features * (directions + 1))
        metrics = []
        for row in values:
            center, vectors, damping = np.split(row, ends)
            metrics.append(Metric(center, vectors.reshape(directions, features), damping))
        label_ids = np.frombuffer(data[size:], "<i8").astype(np.int64)
        return cls(metrics[0], tuple(metrics[1:]), label_ids)


class MetricFitter:
    """Fits metrics to features [N, F] with `label_ids` int64 [N] of two labels or more."""

    def __init__(
        self,
        features: NDArray[np.int8] | Floats,
        label_ids: NDArray[np.int64],
        prior: FeaturePrior | None = None,
    ) -> None:
        self._scatter = Scatter(unit(features), label_ids)
        self._prior = prior
        self._fitted: tuple[Floats, Spectrum] | None = None

    def fit(self) -> FittedMetric:
        """Fit a metric to all rows, and one without each group of labels."""
        within = self._scatter
        folds = min(FOLDS, len(within.present))
        fold_of = np.arange(len(within.present)) % folds
        parts = [within.of_labels(fold_of == fold) for fold in range(folds)]
        total: Floats = np.sum([part for part, _ in parts], axis=0, dtype=np.float32)
        freedom = sum(part for _, part in parts)
        spectrum = pooled(total, freedom, self._prior).spectrum()
        self._fitted = total, spectrum
        metrics = []
        for fold, (part, its_freedom) in enumerate(parts):
            rest = pooled(total - part, freedom - its_freedom, self._prior)
            metrics.append(self._near(rest, within.means[fold_of != fold].mean(axis=0)))
        metric = _metric(within.means.mean(axis=0), spectrum)
        return FittedMetric(metric, tuple(metrics), within.present.astype(np.int64))

    def within(self, left_out: NDArray[np.bool_] | None = None) -> WithinLabels:
        """Return the covariance within labels, of all rows but those `left_out`, bool [N].

        After `fit`.
        """
        return self._without(left_out)[0]

    def fit_without(self, left_out: NDArray[np.bool_]) -> Metric:
        """Fit a metric to all rows but those `left_out`, bool [N], after `fit`."""
        return self._near(*self._without(left_out))

    def _without(self, left_out: NDArray[np.bool_] | None) -> tuple[WithinLabels, Floats]:
        assert self._fitted is not None
        if left_out is None:
            left_out = np.zeros(len(self._scatter.labels), np.bool_)
        rest, freedom, center = self._scatter.without(left_out, self._fitted[0])
        return pooled(rest, freedom, self._prior), center

    def _near(self, within: WithinLabels, center: Floats) -> Metric:
        """Return the metric of a covariance that is similar to that of all rows."""
        assert self._fitted is not None
        return _metric(center, within.spectrum_near(self._fitted[1].vectors[:, :DIRECTIONS]))


def _metric(center: Floats, within: Spectrum) -> Metric:
    values, level = within.values[:DIRECTIONS], within.level
    damping = 1 - np.sqrt(level / np.maximum(values + level, 1e-12)) if level > 0 else 0 * values
    return Metric(
        center.astype(np.float32),
        np.ascontiguousarray(within.vectors[:, :DIRECTIONS].T, np.float32),
        damping.astype(np.float32),
    )
