"""Whitening within labels, then ITQ: a hash layer in closed form, for labels not seen before.

Directions in which photos of one label differ (light, viewpoint, background) say nothing about
objects. They are scaled down by the covariance within labels, which carries over to other labels.
ITQ (training/methods/itq.py) then makes bits of the directions that remain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.methods.itq import fit_itq
from training.methods.linear_map import Floats, LinearMap

SHRINKAGE = 0.3
"""Share of the mean variance in the covariance. The directions with little variance are noise, and
whitening without it would raise them most."""


def covariance_within(
    features: Floats, labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], int]:
    """Return the pooled covariance [F, F] of features float32 [N, F] within `labels` int64 [N].

    The second result is its degrees of freedom, N minus the number of labels. Without any, the
    covariance is 0.
    """
    width, freedom = features.shape[1], 0
    scatter = np.zeros((width, width))
    for label in np.unique(labels):
        own = features[labels == label].astype(np.float64)
        own -= own.mean(0)
        scatter += own.T @ own
        freedom += len(own) - 1
    return scatter / max(freedom, 1), freedom


def fit_whitened(features: Floats, labels: NDArray[np.int64], bits: int, seed: int) -> LinearMap:
    """Whiten features float32 [N, F] within `labels` int64 [N] and make `bits` of them by ITQ.

    Raises InputError if there are more bits than features.
    """
    within, _ = covariance_within(features, labels)
    level = float(np.trace(within)) / len(within) or 1.0
    values, vectors = np.linalg.eigh(within)
    shrunk = (1 - SHRINKAGE) * np.maximum(values, 0) + SHRINKAGE * level
    whitening = vectors * shrunk**-0.5
    mean = features.mean(0, dtype=np.float64)
    weight, bias = fit_itq(((features - mean) @ whitening).astype(np.float32), bits, seed)
    weight = (weight @ whitening.T).astype(np.float32)
    return weight, (bias - weight @ mean).astype(np.float32)
