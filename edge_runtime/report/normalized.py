"""Two sets of times, made comparable: what is known to differ is taken out beforehand.

- Photos are unlike: decoding one takes twice as long as another. Where both runs took the same
  photos in turn, each photo's times are divided by what both runs take for it.
- Minutes are unlike: a machine with neighbours is not always equally fast, and each stage feels it
  in its own measure. After every frame the same small work was timed (the yardstick); how a stage
  follows it within a run says how it would have been on a machine that is always the same. This is
  the analysis of covariance (Fisher 1932), of logarithms of block medians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.report.schema import Report

Numbers = NDArray[np.float64]

BLOCK = 16
"""Frames whose median says how fast the machine was just then."""
FEWEST_BLOCKS = 8
STEEPEST = 2.0
"""A stage feels the machine at most in this power of what the yardstick feels."""


@dataclass(frozen=True)
class Pair:
    """Times of A and B, one a frame."""

    a: Numbers
    b: Numbers


def times_of(a: Report, b: Report, stage: str) -> Pair:
    """The samples of `stage`, each photo's over what both take for it."""
    assert a.warm is not None
    assert b.warm is not None
    first, second = (warm.samples.stages_ms[stage] for warm in (a.warm, b.warm))
    photos = _photos_in_turn(a, b)
    pair = Pair(_known(first), _known(second))
    if photos < 2 or min(len(pair.a), len(pair.b)) < 2 * photos:
        return pair
    if (len(pair.a), len(pair.b)) != (len(first), len(second)):
        return pair  # a gate let some pass: no telling whose the others are
    for turn in range(photos):
        both = np.concatenate([pair.a[turn::photos], pair.b[turn::photos]])
        usual = np.percentile(both, 25) or 1.0  # company of some samples leaves it as it is
        pair.a[turn::photos] /= usual
        pair.b[turn::photos] /= usual
    return pair


def steadied(a: Report, b: Report, pair: Pair) -> Pair:
    """`pair` as on a machine that is always as fast; unchanged where the yardstick cannot tell."""
    assert a.warm is not None
    assert b.warm is not None
    yards = [np.log(np.maximum(w.samples.yardstick_ms, 1e-6)) for w in (a.warm, b.warm)]
    times = [np.log(np.maximum(t, 1e-9)) for t in (pair.a, pair.b)]
    if any(len(y) != len(t) or len(y) < FEWEST_BLOCKS * BLOCK
           for y, t in zip(yards, times, strict=True)):  # fmt: skip
        return pair
    blocks = [(_medians(y), _medians(t)) for y, t in zip(yards, times, strict=True)]
    centred = [(y - y.mean(), t - t.mean()) for y, t in blocks]
    moved = sum(float(y @ y) for y, _ in centred)
    slope = sum(float(y @ t) for y, t in centred) / moved if moved else 0.0
    slope = min(max(slope, 0.0), STEEPEST)
    level = float(np.mean([np.median(y) for y, _ in blocks]))
    found = [
        np.exp(t - slope * (_spread(y, len(t)) - level))
        for t, (y, _) in zip(times, blocks, strict=True)
    ]
    return Pair(*found)


def machine(a: Report, b: Report) -> tuple[list[float], list[float]]:
    """The yardstick's times in both."""
    assert a.warm is not None
    assert b.warm is not None
    return a.warm.samples.yardstick_ms, b.warm.samples.yardstick_ms


def _medians(samples: Numbers) -> Numbers:
    count = len(samples) // BLOCK
    found: Numbers = np.median(samples[: count * BLOCK].reshape(count, BLOCK), axis=1)
    return found


def _spread(medians: Numbers, count: int) -> Numbers:
    """For each of `count` frames the machine's speed, straight lines from block to block."""
    middles = (np.arange(len(medians)) + 0.5) * BLOCK
    found: Numbers = np.interp(np.arange(count) + 0.5, middles, medians)
    return found


def _known(samples: Sequence[float | None]) -> Numbers:
    return np.array([ms for ms in samples if ms is not None], np.float64)


def _photos_in_turn(a: Report, b: Report) -> int:
    """How many photos both took in the same turn; 1: not known to be the same."""
    same = a.protocol.pace == b.protocol.pace == "one by one" and (
        (a.input.photo_count, a.protocol.warmup_count)
        == (b.input.photo_count, b.protocol.warmup_count)
    )
    return a.input.photo_count or 1 if same else 1
