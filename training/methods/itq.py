"""ITQ (Gong & Lazebnik 2011): PCA, then a rotation that minimizes the quantization error."""

from __future__ import annotations

import numpy as np

from edge_runtime.errors import InputError
from training.methods.linear_map import Floats, LinearMap

ITERATIONS = 50


def fit_itq(features: Floats, bits: int, seed: int, whiten: float = 0.0) -> LinearMap:
    """Reduce features float32 [N, F] to `bits` dimensions by PCA and rotate them.

    Source: section 2.2. Before the rotation, each dimension is divided by its standard deviation to
    the power `whiten`. Raises InputError if there are more bits than features.
    """
    if bits > features.shape[1]:
        raise InputError(
            f"itq makes no {bits} bits of {features.shape[1]} features",
            where="--bits",
            remedy="ask for fewer, or take another method",
        )
    mean = features.mean(0, dtype=np.float64)
    centered = features - mean
    variances, vectors = np.linalg.eigh(centered.T @ centered / len(features))
    principal = vectors[:, ::-1][:, :bits]
    if whiten:
        principal = principal * np.maximum(variances[::-1][:bits], 1e-12) ** (-whiten / 2)
    values = centered @ principal
    rng = np.random.default_rng((seed, bits))
    rotation = np.linalg.qr(rng.standard_normal((bits, bits)))[0]
    for _ in range(ITERATIONS):
        left, _, right = np.linalg.svd(values.T @ np.sign(values @ rotation))
        rotation = left @ right
    weight = (principal @ rotation).T.astype(np.float32)
    return weight, -(weight @ mean).astype(np.float32)
