"""Conditions of a run: temperature, clock, other programs, swap.

They decide whether the run is a valid measurement.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec.structs import replace

from edge_runtime.report.schema import Conditions, Flag, Moment
from edge_runtime.system.device import clock_mhz, temperature_c, throttling
from edge_runtime.system.memory import rss_bytes

OTHERS_CORES = 0.25
"""A run is flagged as shared if other programs use more cores than this on average, ..."""
WAITING_SHARE = 0.03
"""... or if the pipeline waits for a core for a larger share of its time, ..."""
STOLEN_SHARE = 0.03
"""... or if the host of a virtual machine takes a larger share of CPU time."""
SWAPPED_BYTES = 1 << 20
CLOCK_SHARE = 0.9
"""A busy core is throttled if its clock falls below this share of its highest clock."""
_FIRMWARE_INTERVAL_S = 10.0
"""Interval of firmware queries. On a Raspberry Pi, each starts a process."""


@dataclass(frozen=True)
class Counters:
    """Counters of the kernel."""

    at_s: float
    busy_s: float
    """CPU time of all cores."""
    stolen_s: float
    total_s: float
    own_s: float
    swapped_bytes: int | None
    thread_ran_ns: int
    thread_waited_ns: int


def counters() -> Counters:
    """Read the counters. Must be called on the thread of the pipeline."""
    cpu = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    stolen_s = getattr(cpu, "steal", 0.0)
    idle_s = cpu.idle + getattr(cpu, "iowait", 0.0)
    guest_s = getattr(cpu, "guest", 0.0) + getattr(
        cpu, "guest_nice", 0.0
    )  # already part of user and nice
    total_s = sum(cpu) - guest_s
    ran, waited = _schedule()
    return Counters(
        time.perf_counter(),
        total_s - idle_s - stolen_s,
        stolen_s,
        total_s,
        own.user + own.system + own.children_user + own.children_system,
        _swapped_bytes(),
        ran,
        waited,
    )


def _schedule() -> tuple[int, int]:
    """Return the nanoseconds that this thread ran, and that it waited for a core."""
    try:
        ran, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
        return int(ran), int(waited)
    except (OSError, ValueError):
        return 0, 0


def _swapped_bytes() -> int | None:
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    pages = [int(line.split()[1]) for line in lines if line.startswith(("pswpin ", "pswpout "))]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") if pages else None


class BoardMonitor:
    """Reads the board's sensors periodically on its own thread, and measures what that costs."""

    def __init__(self, interval_s: float) -> None:
        self.moments: list[Moment] = []
        self.cpu_s = 0.0
        """CPU time spent on reading the sensors during the run."""
        self._interval_s = interval_s
        self._zero_s = time.perf_counter()
        self._throttling = throttling()
        self._firmware_read_s = self._zero_s
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.read()

    def begin(self) -> None:
        """Start reading periodically. Times count from here."""
        shift_s = time.perf_counter() - self._zero_s
        self._zero_s += shift_s
        self.moments = [
            replace(moment, at_s=round(moment.at_s - shift_s, 3)) for moment in self.moments
        ]
        self._end.clear()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Read once more, then stop."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._firmware_read_s = 0.0
        self.read()

    def read(self) -> None:
        """Read and store one moment."""
        now_s = time.perf_counter()
        if now_s - self._firmware_read_s > _FIRMWARE_INTERVAL_S and self._throttling is not None:
            self._throttling, self._firmware_read_s = throttling(), now_s
        clock, _ = clock_mhz()
        self.moments.append(
            Moment(
                at_s=round(now_s - self._zero_s, 3),
                temperature_c=temperature_c(),
                clock_mhz=None if clock is None else round(clock, 1),
                throttling=self._throttling,
                rss_bytes=rss_bytes(),
            )
        )

    def _run(self) -> None:
        while not self._end.wait(self._interval_s):
            self.read()
            self.cpu_s = time.thread_time()


def conditions(monitor: BoardMonitor, before: Counters, after: Counters) -> Conditions:
    """Return the conditions of a run between two readings of the counters."""
    elapsed_s = max(after.at_s - before.at_s, 1e-9)
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    total_s = after.total_s - before.total_s
    ran_ns = after.thread_ran_ns - before.thread_ran_ns
    waited_ns = after.thread_waited_ns - before.thread_waited_ns
    swapped = after.swapped_bytes, before.swapped_bytes
    return Conditions(
        moments=monitor.moments,
        others_cores_ratio=round(max(0.0, others_s / elapsed_s), 3),
        stolen_share=round((after.stolen_s - before.stolen_s) / total_s, 4) if total_s else None,
        waiting_share=round(waited_ns / (ran_ns + waited_ns), 4) if ran_ns else None,
        swapped_bytes=None if None in swapped else swapped[0] - swapped[1],  # type: ignore[operator]
    )


def flags_of(observed: Conditions, *, emulated: bool, full_load: bool) -> list[Flag]:
    """Return why a run under these conditions is not a valid measurement.

    `full_load`: the run kept its core busy all the time.
    """
    flags = []
    if emulated:
        flags.append(Flag(name="emulated", detail="ran in an emulator: not the times of a board"))
    if causes := _throttled(observed, full_load):
        flags.append(Flag(name="throttled", detail=", ".join(causes)))
    if (observed.swapped_bytes or 0) >= SWAPPED_BYTES:
        detail = f"{(observed.swapped_bytes or 0) / 1e6:.0f} MB moved to or from swap"
        flags.append(Flag(name="swapped", detail=detail))
    shared = [
        text.format(value)
        for value, limit, text in (
            (observed.others_cores_ratio, OTHERS_CORES, "other programs used {:.2f} cores"),
            (
                observed.waiting_share,
                WAITING_SHARE,
                "the pipeline waited {:.1%} of its time for a core",
            ),
            (observed.stolen_share, STOLEN_SHARE, "the host took {:.1%} of the CPU time"),
        )
        if value is not None and value > limit
    ]
    if shared:
        flags.append(Flag(name="shared", detail=", ".join(shared)))
    return flags


def _throttled(observed: Conditions, full_load: bool) -> list[str]:
    first, *rest = observed.moments
    reported_before = set(first.throttling or ())
    causes = sorted(
        {
            text
            for moment in rest
            for text in moment.throttling or ()
            if "occurred" not in text or text not in reported_before
        }
    )
    clocks = [
        moment.clock_mhz
        for moment in rest[:-1]  # the last one is read after the work
        if moment.clock_mhz is not None and moment.at_s > 0
    ]
    if full_load and clocks and min(clocks) < CLOCK_SHARE * max(clocks):
        causes.append(f"the clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz")
    return causes
