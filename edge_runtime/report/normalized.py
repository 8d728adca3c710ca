"""Make the times of two runs comparable by removing known differences.

- Photos differ: decoding one may take twice as long as another. If both runs queried the same
  photos in rotation, each photo's times are divided by its usual time in both runs.
- The machine's speed varies with other programs, and each stage responds to it differently. The
  calibration loop, a fixed small amount of work, is timed after every frame. The correlation of a
  stage with the loop within a run shows how long the stage would take at constant machine speed.
  This is an analysis of covariance (Fisher 1932) on the logarithms of block medians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.report.schema import Report

Numbers = NDArray[np.float64]

BLOCK = 16
"""Number of frames per block. Its median gives the machine's speed at that time."""
MIN_BLOCKS = 8
MAX_SLOPE = 2.0
"""Upper limit of the exponent with which a stage follows the calibration loop."""


@dataclass(frozen=True)
class Pair:
    """The times of A and B, one per frame."""

    a: Numbers
    b: Numbers


def times_of(a: Report, b: Report, stage: str) -> Pair:
    """Return the samples of `stage`, divided by each photo's usual time if that is known."""
    assert a.warm is not None
    assert b.warm is not None
    first, second = (warm.samples.stages_ms[stage] for warm in (a.warm, b.warm))
    photos = _photos_in_rotation(a, b)
    pair = Pair(_known(first), _known(second))
    if photos < 2 or min(len(pair.a), len(pair.b)) < 2 * photos:
        return pair
    if (len(pair.a), len(pair.b)) != (len(first), len(second)):
        return pair  # the gate skipped frames: photos cannot be assigned
    for photo in range(photos):
        both = np.concatenate([pair.a[photo::photos], pair.b[photo::photos]])
        usual = (
            np.percentile(both, 25) or 1.0
        )  # not affected by other programs, which slow down some samples
        pair.a[photo::photos] /= usual
        pair.b[photo::photos] /= usual
    return pair


def normalized(a: Report, b: Report, pair: Pair) -> Pair:
    """Return `pair` corrected to a constant machine speed.

    Returns it unchanged if there are too few samples of the calibration loop.
    """
    assert a.warm is not None
    assert b.warm is not None
    loops = [np.log(np.maximum(w.samples.yardstick_ms, 1e-6)) for w in (a.warm, b.warm)]
    times = [np.log(np.maximum(t, 1e-9)) for t in (pair.a, pair.b)]
    if any(len(y) != len(t) or len(y) < MIN_BLOCKS * BLOCK
           for y, t in zip(loops, times, strict=True)):  # fmt: skip
        return pair
    blocks = [(_medians(y), _medians(t)) for y, t in zip(loops, times, strict=True)]
    centered = [(y - y.mean(), t - t.mean()) for y, t in blocks]
    variance = sum(float(y @ y) for y, _ in centered)
    slope = sum(float(y @ t) for y, t in centered) / variance if variance else 0.0
    slope = min(max(slope, 0.0), MAX_SLOPE)
    level = float(np.mean([np.median(y) for y, _ in blocks]))
    corrected = [
        np.exp(t - slope * (_interpolated(y, len(t)) - level))
        for t, (y, _) in zip(times, blocks, strict=True)
    ]
    return Pair(*corrected)


def calibration_times(a: Report, b: Report) -> tuple[list[float], list[float]]:
    """Return the times of the calibration loop in both runs."""
    assert a.warm is not None
    assert b.warm is not None
    return a.warm.samples.yardstick_ms, b.warm.samples.yardstick_ms


def _medians(samples: Numbers) -> Numbers:
    count = len(samples) // BLOCK
    result: Numbers = np.median(samples[: count * BLOCK].reshape(count, BLOCK), axis=1)
    return result


def _interpolated(medians: Numbers, count: int) -> Numbers:
    """Return the machine's speed at each of `count` frames, linear between block medians."""
    middles = (np.arange(len(medians)) + 0.5) * BLOCK
    result: Numbers = np.interp(np.arange(count) + 0.5, middles, medians)
    return result


def _known(samples: Sequence[float | None]) -> Numbers:
    return np.array([ms for ms in samples if ms is not None], np.float64)


def _photos_in_rotation(a: Report, b: Report) -> int:
    """Return how many photos both runs queried in the same rotation; 1 if that is not known."""
    same = a.protocol.pace == b.protocol.pace == "one by one" and (
        (a.input.photo_count, a.protocol.warmup_count)
        == (b.input.photo_count, b.protocol.warmup_count)
    )
    return a.input.photo_count or 1 if same else 1
