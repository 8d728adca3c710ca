"""Record the stage times of every frame, and summarize them."""

from __future__ import annotations

import math
import time
from array import array
from statistics import fmean, median, pstdev

from edge_runtime.daemon.watcher import Observation
from edge_runtime.profiler.calibration_loop import CalibrationLoop
from edge_runtime.report.budget import STAGES
from edge_runtime.report.schema import Samples, Summary, Warm
from edge_runtime.system.stage_timer import percentile

SUSTAINED_S = 30.0
QUERY = ("fit", "gate", "hash", "pack", "lookup", "decide")
"""The stages of a query."""
_DIGITS = 4
"""Decimal digits of milliseconds: a resolution of 0.1 microseconds."""


class Recorder:
    """Observes the daemon and stores a few numbers per frame in flat arrays."""

    def __init__(self) -> None:
        self.at_ns = array("q")
        self._columns = {stage: array("d") for stage in (*STAGES, "end_to_end")}
        self._calibration_loop, self._calibration_ms = CalibrationLoop(), array("d")
        self._took_ns = array("q")

    def __len__(self) -> int:
        return len(self._took_ns)  # written last, so these frames are complete

    def __call__(self, observation: Observation) -> None:
        """Store the times of one frame."""
        self.at_ns.append(time.perf_counter_ns())
        stage_ms = observation.result.stage_ms
        for stage, column in self._columns.items():
            column.append(stage_ms.get(stage, math.nan))
        self._calibration_ms.append(self._calibration_loop.measure_ms())
        self._took_ns.append(time.perf_counter_ns() - self.at_ns[-1])

    @property
    def size_bytes(self) -> int:
        """Memory of the stored numbers."""
        return 8 * len(self) * (3 + len(self._columns))

    @property
    def frame_us(self) -> float:
        """Median time to store one frame, with the caches as the pipeline leaves them."""
        return median(self._took_ns) / 1e3

    def query_ms(self) -> array[float]:
        """Return the query time of each frame: the stages fit to decide."""
        parts = [self._columns[stage] for stage in QUERY]
        return array("d", (sum(x for x in row if x == x) for row in zip(*parts, strict=True)))

    def warm(self, *, dropped: int, faults: int) -> Warm:
        """Return the summary; at least one frame must be stored."""
        # Ctrl-C may have interrupted the recording of a frame.
        del self.at_ns[len(self) :], self._calibration_ms[len(self) :]
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
                yardstick_ms=[round(x, _DIGITS) for x in self._calibration_ms],
            ),
        )


def summary(samples_ms: array[float]) -> Summary:
    """Summarize a stage; nan means that the stage did not run."""
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
