"""Round weights to bytes so that the sums they contribute to change least.

Rounding each weight on its own accumulates errors where the inputs are correlated, as neighboring
pixels are. GPTQ (Frantar et al. 2022) rounds the weights one after the other and corrects those
still to come for the loss so far, using the second moments of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ACCUMULATOR_LIMIT = 255
"""Largest sum of absolute weights whose products are added in one 16-bit number."""
DAMPING = 0.01
"""Share of the mean moment added to each one, so that inputs that never vary have no effect."""
BLOCK = 64
MAX_WEIGHT = 127


def quantize_weights(
    weight: Floats, accumulated: Callable[[Floats], Floats], least: Floats, moments: Floats | None
) -> tuple[NDArray[np.int8], Floats]:
    """Round `weight` [O, K] to bytes; return the bytes and the scale [O] of each row.

    Each scale is the smallest one, but at least `least`, at which the row fits into bytes and
    `accumulated` (given absolute weights) stays within ACCUMULATOR_LIMIT. `moments` are the mean
    products of the inputs, [K, K] for all rows or [O, K, K]; None rounds to nearest.
    """
    largest = np.abs(weight).max(axis=1)
    step = np.maximum(
        np.maximum(largest / MAX_WEIGHT, accumulated(np.abs(weight)) / ACCUMULATOR_LIMIT), least
    )
    follow = None if moments is None else _follow(moments)
    rounded = _rounded(weight / step[:, np.newaxis], follow)
    while True:
        over = accumulated(np.abs(rounded)) > ACCUMULATOR_LIMIT
        if not over.any():
            return rounded.astype(np.int8), step
        step[over] *= 1.01
        some = follow if follow is None or follow.ndim == 2 else follow[over]
        rounded[over] = _rounded(weight[over] / step[over, np.newaxis], some)


def _follow(moments: Floats) -> Floats:
    """Return the share of each weight's loss (row) that each later weight (column) corrects."""
    size = moments.shape[-1]
    mean = np.trace(moments, axis1=-2, axis2=-1)[..., np.newaxis, np.newaxis] / size
    damped = moments + (DAMPING * mean + 1e-9) * np.eye(size)
    upper = np.swapaxes(np.linalg.cholesky(np.linalg.inv(damped)), -1, -2)
    return upper / np.diagonal(upper, axis1=-2, axis2=-1)[..., np.newaxis]


def _rounded(weight: Floats, follow: Floats | None) -> Floats:
    if follow is None:
        return np.clip(np.rint(weight), -MAX_WEIGHT, MAX_WEIGHT)
    left = weight.copy()
    size = weight.shape[1]
    for begin in range(0, size, BLOCK):
        end = min(begin + BLOCK, size)
        losses = np.empty((len(weight), end - begin))
        for k in range(begin, end):
            loss = left[:, k] - np.clip(np.rint(left[:, k]), -MAX_WEIGHT, MAX_WEIGHT)
            left[:, k] -= loss
            losses[:, k - begin] = loss
            left[:, k + 1 : end] -= loss[:, np.newaxis] * follow[..., k, k + 1 : end]
        if end < size:
            assert follow.ndim == 2, "only rows of at most BLOCK weights have their own moments"
            left[:, end:] -= losses @ follow[begin:end, end:]
    return left
