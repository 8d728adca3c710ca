"""Weights to bytes, so that what they sum up to changes least.

Rounding each weight by itself adds up wherever the numbers that they multiply go together, as
neighbouring pixels do. After Frantar et al. (2022, GPTQ) they are rounded one after the other, and
what one has lost is made up for by those still to come, as the moments of their inputs tell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROOM = 255
"""Of the weights whose products meet in a 16-bit number, the sum of their absolute values."""
DAMPING = 0.01
"""Of the mean moment, added to each, so that inputs that never vary have no say."""
BLOCK = 64
MOST = 127


def in_bytes(
    weight: Floats, together: Callable[[Floats], Floats], least: Floats, moments: Floats | None
) -> tuple[NDArray[np.int8], Floats]:
    """`weight` [O, K] as bytes, and the scale [O] of each: the smallest, but at least `least`, with
    which they fit, and the sums `together` of their absolute values have room.

    `moments` are means of products of the inputs, [K, K] or, of each O, [O, K, K].
    """
    largest = np.abs(weight).max(axis=1)
    step = np.maximum(np.maximum(largest / MOST, together(np.abs(weight)) / ROOM), least)
    follow = None if moments is None else _follow(moments)
    rounded = _rounded(weight / step[:, np.newaxis], follow)
    while True:
        over = together(np.abs(rounded)) > ROOM
        if not over.any():
            return rounded.astype(np.int8), step
        step[over] *= 1.01
        some = follow if follow is None or follow.ndim == 2 else follow[over]
        rounded[over] = _rounded(weight[over] / step[over, np.newaxis], some)


def _follow(moments: Floats) -> Floats:
    """The share of the loss of each weight (row) that each later one (column) makes up for."""
    size = moments.shape[-1]
    mean = np.trace(moments, axis1=-2, axis2=-1)[..., np.newaxis, np.newaxis] / size
    damped = moments + (DAMPING * mean + 1e-9) * np.eye(size)
    upper = np.swapaxes(np.linalg.cholesky(np.linalg.inv(damped)), -1, -2)
    return upper / np.diagonal(upper, axis1=-2, axis2=-1)[..., np.newaxis]


def _rounded(weight: Floats, follow: Floats | None) -> Floats:
    if follow is None:
        return np.clip(np.rint(weight), -MOST, MOST)
    left = weight.copy()
    size = weight.shape[1]
    for begin in range(0, size, BLOCK):
        end = min(begin + BLOCK, size)
        losses = np.empty((len(weight), end - begin))
        for k in range(begin, end):
            loss = left[:, k] - np.clip(np.rint(left[:, k]), -MOST, MOST)
            left[:, k] -= loss
            losses[:, k - begin] = loss
            left[:, k + 1 : end] -= loss[:, np.newaxis] * follow[..., k, k + 1 : end]
        if end < size:
            assert follow.ndim == 2, "moments of each output are of few inputs"
            left[:, end:] -= losses @ follow[begin:end, end:]
    return left
