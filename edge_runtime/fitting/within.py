"""The covariance of features within a label, of a gallery and its prior, and its directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.prior import FeaturePrior, label_means, scatter
from edge_runtime.fitting.quantized import Floats

PRIOR_WEIGHT = 200
"""Degrees of freedom that the prior's covariance counts as."""
SHRINKAGE = 0.1
"""Share of the identity in the covariance within labels."""


@dataclass(frozen=True, eq=False)
class WithinLabels:
    """The covariance within labels, shrunk towards a multiple of the identity.

    It is `covariance` + `level` I. Directions in which photos of one thing differ have large
    eigenvalues.
    """

    covariance: Floats
    """float32 [F, F]"""
    level: float
    """0 if every label has one row or equal rows, and there is no prior."""

    def root(self) -> Floats:
        """Return L, float32 [F, F] lower triangular, with L L' the covariance; solving whitens."""
        size = len(self.covariance)
        if self.level <= 0:
            return np.eye(size, dtype=np.float32)
        shrunk = self.covariance.copy()
        shrunk.flat[:: size + 1] += np.float32(self.level)
        root: Floats = np.linalg.cholesky(shrunk)
        return root

    def spectrum(self) -> Spectrum:
        """Return all eigenvalues and eigenvectors."""
        values, vectors = np.linalg.eigh(self.covariance)
        return Spectrum(np.maximum(values[::-1], 0), vectors[:, ::-1], self.level)

    def spectrum_near(self, vectors: Floats, rounds: int = 2) -> Spectrum:
        """Return the largest eigenvalues and their eigenvectors, found from similar ones [F, R].

        Subspace iteration: much faster than `spectrum`, and accurate where the start is.
        """
        for _ in range(rounds):
            vectors = np.linalg.qr(self.covariance @ vectors)[0]
        values, rotation = np.linalg.eigh(vectors.T @ (self.covariance @ vectors))
        found = (vectors @ rotation)[:, ::-1]
        return Spectrum(np.maximum(values[::-1], 0), found, self.level)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of `WithinLabels.covariance`."""

    values: Floats
    """float32 [R], descending."""
    vectors: Floats
    """float32 [F, R], one per column."""
    level: float


class Scatter:
    """The scatter within labels of rows, and of parts of them, without summing all rows again.

    The rows are kept as deviations from the means of their labels. A part has other means; what
    these add to the sums is taken off.
    """

    def __init__(self, rows: Floats, label_ids: NDArray[np.int64]) -> None:
        """Take rows float32 [N, F] with their labels, int64 [N]."""
        self.present, self.labels = np.unique(label_ids, return_inverse=True)
        """The label ids int64 [L], ascending, and the place of each row's label among them."""
        self.means, self.counts = label_means(rows, self.labels)
        """float32 [L, F], int64 [L]: the mean of each label and its number of rows."""
        self._deviations = rows - self.means[self.labels]

    def of_labels(self, chosen: NDArray[np.bool_]) -> tuple[Floats, int]:
        """Return the scatter [F, F] of all rows of the `chosen` labels, bool [L], and its freedom.

        The freedom is the number of rows minus the number of labels.
        """
        counts = self.counts[chosen]
        return _products(self._deviations[chosen[self.labels]]), int(counts.sum()) - len(counts)

    def without(
        self, left_out: NDArray[np.bool_], total: Floats
    ) -> tuple[Floats, int, NDArray[np.float32]]:
        """Return the scatter of the other rows, its freedom, and the mean of their label means.

        `left_out` is bool [N]; `total` is the scatter of all rows.
        """
        away = self._deviations[left_out]
        owners = self.labels[left_out]
        counts = self.counts - np.bincount(owners, minlength=len(self.counts))
        moved = np.zeros_like(self.means)
        np.subtract.at(moved, owners, away)  # the deviations of a label add up to 0
        kept = counts > 0
        moved = moved[kept] / counts[kept, np.newaxis]
        weighted = moved * np.sqrt(counts[kept, np.newaxis])
        rest = total - _products(away) - _products(weighted.astype(np.float32))
        center = (self.means[kept] + moved).mean(axis=0)
        return rest, int(counts[kept].sum()) - int(kept.sum()), center.astype(np.float32)


def _products(rows: Floats) -> Floats:
    products: Floats = rows.T @ rows
    return products


def within_labels(
    rows: Floats, labels: NDArray[np.int64], prior: FeaturePrior | None
) -> WithinLabels:
    """Return the covariance within labels of `rows` float32 [N, F], pooled with the prior's."""
    return pooled(*scatter(rows, labels), prior)


def pooled(
    within: NDArray[np.float64] | Floats, freedom: int, prior: FeaturePrior | None
) -> WithinLabels:
    """Return the covariance of a scatter [F, F] with degrees of freedom, and of the prior."""
    if prior is not None:
        within = within + PRIOR_WEIGHT * prior.within
        freedom += PRIOR_WEIGHT
    within = within / max(freedom, 1)
    level = max(float(np.trace(within)) / len(within), 0.0)
    return WithinLabels(((1 - SHRINKAGE) * within).astype(np.float32), SHRINKAGE * level)
