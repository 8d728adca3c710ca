"""What measuring costs: counted directly, and asked of the clock by leaving it off in turns."""

from __future__ import annotations

import time

from edge_runtime.profiler.conditions import Watch
from edge_runtime.profiler.driver import Driver
from edge_runtime.profiler.warm import Recorder
from edge_runtime.report.bootstrap import ratio
from edge_runtime.report.schema import Overhead
from edge_runtime.system.stage_timer import percentile

BLOCK = 8
"""Frames with, then as many without, then the other way round."""


def overhead(driver: Driver, recorder: Recorder, watch: Watch) -> Overhead:
    """Of a run that has just ended: as many frames again as it had, at most 512, half without."""
    frame_us = recorder.frame_us
    elapsed_s = max((recorder.at_ns[-1] - recorder.at_ns[0]) / 1e9, 1e-9)
    watch_share = watch.took_s / elapsed_s
    p50_ms = percentile(sorted(recorder.query_ms()), 50)
    blocks = min(len(recorder), 512) // (4 * BLOCK)
    with_ms: list[float] = []
    without_ms: list[float] = []
    other = Recorder()
    if driver.pace == "one by one":  # the others wait for the camera most of the time
        for kept in (True, False, False, True) * blocks:
            driver.daemon.observers[:] = [other] if kept else []
            for _ in range(BLOCK):
                began_ns = time.perf_counter_ns()
                driver.one()
                (with_ms if kept else without_ms).append((time.perf_counter_ns() - began_ns) / 1e6)
    clock = ratio(without_ms, with_ms, 50) if blocks and with_ms else None
    return Overhead(
        frame_us=round(frame_us, 3),
        watch_share=round(watch_share, 6),
        p50_share=round(frame_us / 1e3 / p50_ms + watch_share, 6) if p50_ms else 0.0,
        p50_ratio=round(clock.value, 4) if clock else None,
        low_ratio=round(clock.low, 4) if clock else None,
        high_ratio=round(clock.high, 4) if clock else None,
    )
