"""Fit a hash layer to labeled features: whitening, discriminant directions, and a rotation.

1. The covariance within labels is pooled with that of the prior and shrunk towards a multiple of
   the identity. The inverse of its Cholesky root whitens the features. Directions in which photos
   of one thing differ then count less.
2. The directions in which the label means differ are kept (linear discriminant analysis; Fisher
   1936). If they are few, because the labels are, principal components of the rows follow.
3. A rotation brings the values close to +1 and -1 (ITQ; Gong & Lazebnik 2011, equation 2). With
   more directions than bits, the K principal components are rotated; with fewer, the rotation is a
   tight frame: K vectors with orthonormal rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.prior import FeaturePrior, label_means
from edge_runtime.fitting.quantized import Floats, unit
from edge_runtime.fitting.within import WithinLabels, within_labels

ROTATIONS = 20
"""Iterations of ITQ."""
MOST_DIRECTIONS, LEAST_DIRECTIONS = 256, 32
"""Limits of the number of directions that the bits are made of."""
MOST_ROWS = 4_000
"""Rows that the rotation is fitted to, at most; bounds the time."""
SEED = 1


def fit_layer(
    features: NDArray[np.int8] | Floats,
    labels: NDArray[np.int64],
    bits: int,
    prior: FeaturePrior | None = None,
    within: WithinLabels | None = None,
    seed: int = SEED,
) -> HashLayer:
    """Fit a layer of `bits` bits to `features` [N, F] with `labels` int64 [N], from 0 on.

    Deterministic. Few rows suffice: the prior adds what they cannot tell. `within` is the
    covariance within labels, if it is known. `seed` is that of the random start of the rotation.
    """
    rows = unit(features)
    mean = rows.mean(axis=0)
    root = (within or within_labels(rows, labels, prior)).root()
    rows = rows - mean
    directions = _directions(rows, labels, root)
    projected = rows @ directions
    if len(projected) > MOST_ROWS:
        chosen = np.random.default_rng(SEED).permutation(len(projected))[:MOST_ROWS]
        projected = projected[chosen]
    weight = (directions @ _rotation(projected, bits, seed)).T
    return HashLayer(weight.astype(np.float32), (-weight @ mean).astype(np.float32))


def _directions(rows: Floats, labels: NDArray[np.int64], root: Floats) -> Floats:
    """Return the directions of centered `rows` [N, F], float32 [F, D], the best first.

    They are orthonormal after whitening by `root`, float32 [F, F].
    """
    means, _ = label_means(rows, labels)
    centers = np.linalg.solve(root, (means - means.mean(axis=0)).T).T
    directions: Floats = _principal(centers, MOST_DIRECTIONS)
    missing = LEAST_DIRECTIONS - directions.shape[1]
    if missing > 0:
        whitened = np.linalg.solve(root, rows.T).T
        rest = (whitened - whitened @ directions @ directions.T).astype(np.float32)
        directions = np.hstack([directions, _principal(rest, missing)]).astype(np.float32)
    if not directions.shape[1]:  # one row, or equal rows: any directions do
        directions = np.eye(rows.shape[1], LEAST_DIRECTIONS, dtype=np.float32)
    unwhitened: Floats = np.linalg.solve(root.T, directions)
    return unwhitened


def _principal(rows: Floats, most: int) -> Floats:
    """Return the principal directions of centered `rows` [N, F] with any variance, [F, D]."""
    if len(rows) <= rows.shape[1]:
        values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
        vectors = rows.T @ vectors
    else:
        values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    order = np.argsort(values)[::-1][:most]
    order = order[values[order] > 1e-6 * max(float(values.max(initial=0)), 1e-12)]
    return unit(vectors[:, order].T).T


def _rotation(rows: Floats, bits: int, seed: int = SEED) -> Floats:
    """Return the ITQ rotation, float32 [D, bits], of projected `rows` float32 [N, D].

    For D >= bits its columns are orthonormal, for D <= bits its rows are.
    """
    scaled = unit(rows)
    components = np.eye(rows.shape[1], dtype=np.float32)
    if rows.shape[1] > bits:
        components = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1][:, :bits]
        scaled = scaled @ components
    generator = np.random.default_rng((seed, bits))
    rotation: Floats = np.linalg.qr(generator.standard_normal((bits, scaled.shape[1])))[0].T
    rotation = rotation.astype(np.float32)
    for _ in range(ROTATIONS):
        signs = np.where(scaled @ rotation >= 0, np.float32(1), np.float32(-1))
        left, _, right = np.linalg.svd(scaled.T @ signs, full_matrices=False)
        rotation = left @ right
    return components @ rotation
