"""Stage times, taken on the path itself: no copy of the path is ever timed in its place."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable

Lap = Callable[[str], None]
"""Called with the name of the stage that has just ended."""


def no_lap(_stage: str) -> None:
    """For callers that do not time."""


class StageTimer:
    """Splits one pass along the path into stages; `lap("fit")` ends the stage "fit"."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}
        self._last = time.perf_counter_ns()

    def lap(self, stage: str) -> None:
        """Add the time since the previous lap to `stage`."""
        now = time.perf_counter_ns()
        self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + (now - self._last) / 1e6
        self._last = now


class Timings:
    """The latest samples of each stage, in order, bounded in memory."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._samples: dict[str, deque[float]] = {}

    def add(self, stage_ms: dict[str, float]) -> None:
        """Keep one sample for each stage, milliseconds."""
        for stage, ms in stage_ms.items():
            self._samples.setdefault(stage, deque(maxlen=self._capacity)).append(ms)

    def samples_ms(self, stage: str) -> list[float]:
        """The kept samples of `stage`, oldest first."""
        return list(self._samples.get(stage, ()))

    def summary(self) -> dict[str, dict[str, float]]:
        """By stage: count, p50_ms, p90_ms, p99_ms and max_ms."""
        return {stage: summarise(samples) for stage, samples in self._samples.items()}


def summarise(samples_ms: Iterable[float]) -> dict[str, float]:
    """Count and nearest-rank percentiles of at least one sample."""
    ordered = sorted(samples_ms)
    return {
        "count": len(ordered),
        "p50_ms": percentile(ordered, 50),
        "p90_ms": percentile(ordered, 90),
        "p99_ms": percentile(ordered, 99),
        "max_ms": ordered[-1],
    }


def percentile(ordered: list[float], percent: float) -> float:
    """Nearest rank: the smallest sample that at least `percent` % of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
