"""Measure the cost of measuring: directly, and by interleaved runs with and without it."""

from __future__ import annotations

import time

from edge_runtime.profiler.conditions import BoardMonitor
from edge_runtime.profiler.driver import Driver
from edge_runtime.profiler.recorder import Recorder
from edge_runtime.report.bootstrap import ratio
from edge_runtime.report.schema import Overhead
from edge_runtime.system.stage_timer import percentile

BLOCK = 8
"""Frames per block. The order is with, without, without, with measuring."""


def overhead(driver: Driver, recorder: Recorder, monitor: BoardMonitor) -> Overhead:
    """Return the overhead of a run that has just ended.

    Processes as many frames again, at most 512, half of them without measuring.
    """
    frame_us = recorder.frame_us
    elapsed_s = max((recorder.at_ns[-1] - recorder.at_ns[0]) / 1e9, 1e-9)
    watch_share = monitor.cpu_s / elapsed_s
    p50_ms = percentile(sorted(recorder.query_ms()), 50)
    blocks = min(len(recorder), 512) // (4 * BLOCK)
    with_ms: list[float] = []
    without_ms: list[float] = []
    discarded = Recorder()
    if driver.pace == "one by one":  # at other paces the pipeline mostly waits
        for measured in (True, False, False, True) * blocks:
            driver.daemon.observers[:] = [discarded] if measured else []
            for _ in range(BLOCK):
                began_ns = time.perf_counter_ns()
                driver.process_one()
                (with_ms if measured else without_ms).append(
                    (time.perf_counter_ns() - began_ns) / 1e6
                )
    clock = ratio(without_ms, with_ms, 50) if blocks and with_ms else None
    return Overhead(
        frame_us=round(frame_us, 3),
        watch_share=round(watch_share, 6),
        p50_share=round(frame_us / 1e3 / p50_ms + watch_share, 6) if p50_ms else 0.0,
        p50_ratio=round(clock.value, 4) if clock else None,
        low_ratio=round(clock.low, 4) if clock else None,
        high_ratio=round(clock.high, 4) if clock else None,
    )
