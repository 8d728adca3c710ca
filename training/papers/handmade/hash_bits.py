"""Compact bits of local features: similarity-preserving independent components (SPICA).

He, Radhakrishnan, Chang & Bauer 2011 look for projections whose bits are alike for neighbors, and
independent of each other, so that the buckets of a hash table are equally full. With whitened
features z, projections w and the Laplacian L of the neighbor graph, they minimize the sum of
w' z' L z w and maximize the negentropy of the values. The fixed-point step is that of FastICA
(Hyvarinen 1999) with the gradient of the first term.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.methods.linear_map import Floats, LinearMap

ITERATIONS, SIMILARITY = 30, 1.0
NEIGHBORS_OF = 2_000
"""Rows whose nearest neighbor is looked up, among all rows."""
_FLOOR = 1e-8

Doubles = NDArray[np.float64]


def fit_bits(features: Floats, bits: int, seed: int, similarity: float = SIMILARITY) -> LinearMap:
    """Fit a map of `bits` bits to features float32 [N, F] and return weight and bias.

    `similarity` weighs that neighbors get equal bits against that bits are independent.
    """
    mean = features.mean(0, dtype=np.float64)
    centered = features - mean
    variances, vectors = np.linalg.eigh(centered.T @ centered / len(features))
    kept = variances > _FLOOR * variances[-1]
    whitening = vectors[:, kept] / np.sqrt(variances[kept])
    white = centered @ whitening
    unlike = _differences(features, white, np.random.default_rng((seed, 1)))
    # The directions in which neighbors differ least, turned at random: the start of the iteration.
    directions = np.linalg.eigh(unlike)[1][:, : min(bits, white.shape[1])]
    rng = np.random.default_rng((seed, 2))
    turn = np.linalg.qr(rng.standard_normal((bits, bits)))[0][: directions.shape[1]]
    found = directions @ turn
    for _ in range(ITERATIONS):
        value = np.tanh(white @ found)
        step = white.T @ value / len(white) - (1 - value**2).mean(0) * found
        found = _orthonormal(step - similarity * (unlike @ found))
    weight = (whitening @ found).T
    thresholds = np.median(features @ weight.T, axis=0)  # each bit is set for half of the features
    return weight.astype(np.float32), -thresholds.astype(np.float32)


def _differences(features: Floats, white: Doubles, rng: np.random.Generator) -> Doubles:
    """Return the mean outer product [D, D] of the differences between neighbors, whitened."""
    rows = rng.permutation(len(features))[:NEIGHBORS_OF]
    squares = (features**2).sum(1)
    distance = squares[None] - 2 * features[rows] @ features.T
    distance[np.arange(len(rows)), rows] = np.inf
    difference = white[rows] - white[distance.argmin(1)]
    result: Doubles = difference.T @ difference / (2 * len(rows))
    return result


def _orthonormal(matrix: Doubles) -> Doubles:
    """Return the nearest matrix with orthonormal columns, or rows if there are more columns."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    result: Doubles = left @ right
    return result
