"""Stage times, measured on the query path itself rather than on a copy of it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable


class StageTimer:
    """Splits one pass along the query path into stages; `mark("hash")` ends the stage "hash"."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}
        self._last = time.perf_counter_ns()

    def mark(self, stage: str) -> None:
        """Add the time since the previous mark to `stage`."""
        now = time.perf_counter_ns()
        self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + (now - self._last) / 1e6
        self._last = now


class _NoTimer(StageTimer):
    """Measures nothing."""

    def mark(self, stage: str) -> None:
        """Do nothing."""


NO_TIMER = _NoTimer()
"""The timer of callers that do not measure stages."""


class Timings:
    """The latest samples of each stage, bounded in memory."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._samples: dict[str, deque[float]] = {}

    def add(self, stage_ms: dict[str, float]) -> None:
        """Store one sample per stage, in milliseconds."""
        for stage, ms in stage_ms.items():
            samples = self._samples.get(stage)
            if samples is None:
                samples = self._samples[stage] = deque(maxlen=self._capacity)
            samples.append(ms)

    def samples_ms(self, stage: str) -> list[float]:
        """Return the stored samples of `stage`, oldest first."""
        return list(self._samples.get(stage, ()))

    def summary(self) -> dict[str, dict[str, float]]:
        """Return count, p50_ms, p90_ms, p99_ms and max_ms of each stage."""
        return {stage: summarize(samples) for stage, samples in self._samples.items()}


def summarize(samples_ms: Iterable[float]) -> dict[str, float]:
    """Return the count and nearest-rank percentiles of one or more samples."""
    ordered = sorted(samples_ms)
    return {
        "count": len(ordered),
        "p50_ms": percentile(ordered, 50),
        "p90_ms": percentile(ordered, 90),
        "p99_ms": percentile(ordered, 99),
        "max_ms": ordered[-1],
    }


def percentile(ordered: list[float], percent: float) -> float:
    """Return the nearest-rank percentile of a sorted list.

    This is the smallest sample that at least `percent` % of the samples do not exceed.
    """
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
