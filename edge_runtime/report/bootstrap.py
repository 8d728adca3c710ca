"""Confidence interval of the ratio of two percentiles: the moving-block bootstrap (Kuensch 1989).

Successive times are correlated: another program's burst or a warm cache affects many of them.
Resampling single times would treat them as independent. Resampling whole blocks preserves the
correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_AT_ONCE = 1 << 20
"""Number of values resampled at a time, which bounds the memory."""

_ZERO_MS = 1e-9
"""Smaller times count as 0. This is a picosecond, far below the resolution of any clock."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """A percentile of B divided by that of A, with its 95 % interval."""

    value: float
    low: float
    high: float


def ratio(
    a: Sequence[float] | Numbers, b: Sequence[float] | Numbers, percent: float, *, seed: int = 1
) -> Ratio:
    """Return the ratio of the `percent`-th percentiles (50: medians) of `b` and `a`.

    Each needs at least one sample. 0 / 0 counts as 1. Any other value divided by 0 is large but
    finite, as JSON requires.
    """
    generator = np.random.default_rng(seed)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    value = _quotient(_percentile(second[None], percent), _percentile(first[None], percent))
    ratios = _quotient(
        _resampled(second, percent, generator), _resampled(first, percent, generator)
    )
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Ratio(float(value[0]), float(low), float(high))


def _quotient(above: Numbers, below: Numbers) -> Numbers:
    return np.maximum(above, _ZERO_MS) / np.maximum(below, _ZERO_MS)


def _resampled(samples: Numbers, percent: float, generator: np.random.Generator) -> Numbers:
    """Return the percentile of each resample."""
    count = len(samples)
    block = max(1, round(count ** (1 / 3)))
    blocks = math.ceil(count / block)
    parts = []
    for begin in range(0, RESAMPLES, step := max(1, _AT_ONCE // count)):
        rows = min(step, RESAMPLES - begin)
        starts = generator.integers(0, count, (rows, blocks, 1))
        index = (starts + np.arange(block)).reshape(rows, -1)[:, :count] % count  # wraps around
        parts.append(_percentile(samples[index], percent))
    return np.concatenate(parts)


def _percentile(rows: Numbers, percent: float) -> Numbers:
    """Nearest rank, as in `edge_runtime.system.stage_timer.percentile`."""
    rank = max(0, math.ceil(rows.shape[1] * percent / 100) - 1)
    result: Numbers = np.partition(rows, rank, axis=1)[:, rank]
    return result
