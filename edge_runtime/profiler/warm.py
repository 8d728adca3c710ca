"""Every frame's stages, kept while the daemon runs; and what they say."""

from __future__ import annotations

import math
import time
from array import array
from statistics import fmean, median, pstdev

from edge_runtime.profiler.calibration_loop import Yardstick
from edge_runtime.report.budget import STAGES
from edge_runtime.report.schema import Samples, Summary, Warm
from edge_runtime.system.stage_timer import percentile
from edge_runtime.types import Frame, QueryResult, Recognition

SUSTAINED_S = 30.0
QUERY = ("fit", "gate", "hash", "pack", "lookup", "decide")
"""The stages that make up a query."""
_DIGITS = 4
"""Of a millisecond: a tenth of a microsecond."""


class Recorder:
    """Observes the daemon; a few numbers a frame, in flat arrays."""

    def __init__(self) -> None:
        self.at_ns = array("q")
        self._columns = {stage: array("d") for stage in (*STAGES, "end_to_end")}
        self._yardstick, self._yardstick_ms = Yardstick(), array("d")
        self._took_ns = array("q")

    def __len__(self) -> int:
        return len(self._took_ns)  # comes last: such a frame is kept whole

    def __call__(self, frame: Frame, result: QueryResult, _held: Recognition | None) -> None:
        """Keep one frame's times."""
        self.at_ns.append(time.perf_counter_ns())
        stage_ms = result.stage_ms
        for stage, column in self._columns.items():
            column.append(stage_ms.get(stage, math.nan))
        self._yardstick_ms.append(self._yardstick.measure_ms())
        self._took_ns.append(time.perf_counter_ns() - self.at_ns[-1])

    @property
    def size_bytes(self) -> int:
        """Memory taken by what was kept."""
        return 8 * len(self) * (3 + len(self._columns))

    @property
    def frame_us(self) -> float:
        """Microseconds that keeping a frame took, with caches as the path leaves them: median."""
        return median(self._took_ns) / 1e3

    def query_ms(self) -> array[float]:
        """Of each frame, fit to decide."""
        parts = [self._columns[stage] for stage in QUERY]
        return array("d", (sum(x for x in row if x == x) for row in zip(*parts, strict=True)))

    def warm(self, *, dropped: int, faults: int) -> Warm:
        """What was kept; at least one frame."""
        # Ctrl-C may have come in the middle of a frame.
        del self.at_ns[len(self) :], self._yardstick_ms[len(self) :]
        for column in self._columns.values():
            del column[len(self) :]
        columns = {
            stage: column
            for stage, column in self._columns.items()
            if not all(map(math.isnan, column))
        }
        query = self.query_ms()
        columns = {**columns, "query": query, "end_to_end": columns.pop("end_to_end")}
        first_ns = self.at_ns[0]
        at_s = [round((at_ns - first_ns) / 1e9, 4) for at_ns in self.at_ns]
        elapsed_s = max(at_s[-1], 1e-9)
        return Warm(
            elapsed_s=elapsed_s,
            frames_per_s=(len(at_s) - 1) / elapsed_s,
            dropped_count=dropped,
            fault_count=faults,
            sustained_ratio=_sustained(at_s, query),
            stages={stage: summary(column) for stage, column in columns.items()},
            samples=Samples(
                at_s=at_s,
                stages_ms={
                    stage: [None if x != x else round(x, _DIGITS) for x in column]
                    for stage, column in columns.items()
                },
                yardstick_ms=[round(x, _DIGITS) for x in self._yardstick_ms],
            ),
        )


def summary(samples_ms: array[float]) -> Summary:
    """A stage in numbers; nan: the stage was not run."""
    ordered = sorted(x for x in samples_ms if x == x)
    figures = {
        "min_ms": ordered[0],
        "mean_ms": fmean(ordered),
        "std_ms": pstdev(ordered),
        **{f"p{percent}_ms": percentile(ordered, percent) for percent in (50, 90, 95, 99)},
        "max_ms": ordered[-1],
    }
    rounded = {name: round(ms, _DIGITS) for name, ms in figures.items()}
    return Summary(sample_count=len(ordered), **rounded)


def _sustained(at_s: list[float], query_ms: array[float]) -> float | None:
    if at_s[-1] < 2 * SUSTAINED_S:
        return None
    pairs = list(zip(at_s, query_ms, strict=True))
    first = median(ms for at, ms in pairs if at <= SUSTAINED_S)
    last = median(ms for at, ms in pairs if at >= at_s[-1] - SUSTAINED_S)
    return last / first if first else None
