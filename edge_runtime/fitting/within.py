"""The covariance of features within a label, of a gallery and its prior, and its directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.prior import FeaturePrior, scatter
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


def within_labels(
    rows: Floats, labels: NDArray[np.int64], prior: FeaturePrior | None
) -> WithinLabels:
    """Return the covariance within labels of `rows` float32 [N, F], pooled with the prior's."""
    return pooled(*scatter(rows, labels), prior)


def pooled(within: NDArray[np.float64], freedom: int, prior: FeaturePrior | None) -> WithinLabels:
    """Return the covariance of a scatter [F, F] with degrees of freedom, and of the prior."""
    if prior is not None:
        within = within + PRIOR_WEIGHT * prior.within
        freedom += PRIOR_WEIGHT
    within = within / max(freedom, 1)
    level = max(float(np.trace(within)) / len(within), 0.0)
    return WithinLabels(((1 - SHRINKAGE) * within).astype(np.float32), SHRINKAGE * level)
