"""How sure is the ratio of two percentiles? The moving-block bootstrap (Kuensch 1989).

Successive times are alike: a neighbour's burst or a warm cache lasts for many of them. Resampling
them one by one would take each for a witness of its own; whole blocks keep what lasts together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_AT_ONCE = 1 << 20
"""Numbers resampled at a time: memory stays bounded."""

_NOTHING = 1e-9
"""What counts as 0: a picosecond in milliseconds, far below what any clock tells."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """Of one percentile of B over that of A, with its 95 % interval."""

    value: float
    low: float
    high: float


def ratio(
    a: Sequence[float] | Numbers, b: Sequence[float] | Numbers, percent: float, *, seed: int = 1
) -> Ratio:
    """`percent`: 50 for medians. Needs at least one sample of each; 0 over 0 counts as 1, and
    anything over 0 is large but finite, as JSON needs it."""
    generator = np.random.default_rng(seed)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    value = _over(_percentile(second[None], percent), _percentile(first[None], percent))
    ratios = _over(_resampled(second, percent, generator), _resampled(first, percent, generator))
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Ratio(float(value[0]), float(low), float(high))


def _over(above: Numbers, below: Numbers) -> Numbers:
    return np.maximum(above, _NOTHING) / np.maximum(below, _NOTHING)


def _resampled(samples: Numbers, percent: float, generator: np.random.Generator) -> Numbers:
    """The percentile of each of many resamples."""
    count = len(samples)
    block = max(1, round(count ** (1 / 3)))
    blocks = math.ceil(count / block)
    parts = []
    for begin in range(0, RESAMPLES, step := max(1, _AT_ONCE // count)):
        rows = min(step, RESAMPLES - begin)
        starts = generator.integers(0, count, (rows, blocks, 1))
        index = (starts + np.arange(block)).reshape(rows, -1)[:, :count] % count  # a ring
        parts.append(_percentile(samples[index], percent))
    return np.concatenate(parts)


def _percentile(rows: Numbers, percent: float) -> Numbers:
    """Nearest rank, as everywhere (`edge_runtime.system.stage_timer.percentile`)."""
    rank = max(0, math.ceil(rows.shape[1] * percent / 100) - 1)
    found: Numbers = np.partition(rows, rank, axis=1)[:, rank]
    return found
