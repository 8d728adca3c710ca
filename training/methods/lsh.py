"""LSH: signs of random projections of the centered features (Charikar 2002). No training."""

from __future__ import annotations

import numpy as np

from training.methods.linear_map import Floats, LinearMap


def fit_lsh(features: Floats, bits: int, seed: int) -> LinearMap:
    """Draw random projections [bits, F] with `seed` and center them on features float32 [N, F]."""
    rng = np.random.default_rng((seed, bits))
    weight = rng.standard_normal((bits, features.shape[1])).astype(np.float32)
    return weight, -(weight @ features.mean(0)).astype(np.float32)
