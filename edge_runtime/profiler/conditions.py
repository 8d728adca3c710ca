"""The board while it is measured: heat, clock, neighbours, swap; and what makes a run no
measurement."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec.structs import replace

from edge_runtime.report.schema import Brand, Conditions, Moment
from edge_runtime.system.device import clock_mhz, temperature_c, throttling
from edge_runtime.system.memory import rss_bytes

OTHERS_CORES = 0.25
"""Cores' worth of other programs above which a run counts as shared ..."""
WAITING_SHARE = 0.03
"""... or the share of its time that the path waited for a core ..."""
STOLEN_SHARE = 0.03
"""... or the share that a virtual machine's host gave to others."""
SWAPPED_BYTES = 1 << 20
CLOCK_SHARE = 0.9
"""Of its highest clock below which a core that is kept busy counts as throttled."""
_SLOW_SENSOR_S = 10.0
"""Asking a Raspberry Pi's firmware takes a process: not more often than this."""


@dataclass(frozen=True)
class Counters:
    """What the kernel has counted so far."""

    at_s: float
    busy_s: float
    """Of all cores."""
    stolen_s: float
    total_s: float
    own_s: float
    swapped_bytes: int | None
    path_ran_ns: int
    path_waited_ns: int


def counters() -> Counters:
    """Now. Called on the thread that the path runs on."""
    cpu = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    stolen_s = getattr(cpu, "steal", 0.0)
    idle_s = cpu.idle + getattr(cpu, "iowait", 0.0)
    guest_s = getattr(cpu, "guest", 0.0) + getattr(cpu, "guest_nice", 0.0)  # within user and nice
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
    """Nanoseconds that this thread ran, and that it waited for a core."""
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


class Watch:
    """Looks at the board now and then, on a thread of its own, and knows what that took."""

    def __init__(self, interval_s: float) -> None:
        self.moments: list[Moment] = []
        self.took_s = 0.0
        """CPU time spent on looking during the run."""
        self._interval_s = interval_s
        self._zero_s = time.perf_counter()
        self._throttling = throttling()
        self._asked_s = self._zero_s
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.look()

    def begin(self) -> None:
        """From now on, until `end`. Moments count from here."""
        shift_s = time.perf_counter() - self._zero_s
        self._zero_s += shift_s
        self.moments = [
            replace(moment, at_s=round(moment.at_s - shift_s, 3)) for moment in self.moments
        ]
        self._end.clear()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look once more, and no longer."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._asked_s = 0.0
        self.look()

    def look(self) -> None:
        """Keep one moment."""
        now_s = time.perf_counter()
        if now_s - self._asked_s > _SLOW_SENSOR_S and self._throttling is not None:
            self._throttling, self._asked_s = throttling(), now_s
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
            self.look()
            self.took_s = time.thread_time()


def conditions(watch: Watch, before: Counters, after: Counters) -> Conditions:
    """What surrounded a run between two readings."""
    elapsed_s = max(after.at_s - before.at_s, 1e-9)
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    total_s = after.total_s - before.total_s
    ran_ns = after.path_ran_ns - before.path_ran_ns
    waited_ns = after.path_waited_ns - before.path_waited_ns
    swapped = after.swapped_bytes, before.swapped_bytes
    return Conditions(
        moments=watch.moments,
        others_cores_ratio=round(max(0.0, others_s / elapsed_s), 3),
        stolen_share=round((after.stolen_s - before.stolen_s) / total_s, 4) if total_s else None,
        waiting_share=round(waited_ns / (ran_ns + waited_ns), 4) if ran_ns else None,
        swapped_bytes=None if None in swapped else swapped[0] - swapped[1],  # type: ignore[operator]
    )


def brands_of(seen: Conditions, *, emulated: bool, full_load: bool) -> list[Brand]:
    """Why a run under these conditions is no measurement; `full_load`: it never rested."""
    brands = []
    if emulated:
        brands.append(Brand(name="emulated", detail="an emulator ran it: no times of a board"))
    if causes := _throttled(seen, full_load):
        brands.append(Brand(name="throttled", detail=", ".join(causes)))
    if (seen.swapped_bytes or 0) >= SWAPPED_BYTES:
        detail = f"{(seen.swapped_bytes or 0) / 1e6:.0f} MB went to or came from swap"
        brands.append(Brand(name="swapped", detail=detail))
    shared = [
        text.format(figure)
        for figure, most, text in (
            (seen.others_cores_ratio, OTHERS_CORES, "other programs kept {:.2f} cores busy"),
            (seen.waiting_share, WAITING_SHARE, "the path waited {:.1%} of its time for a core"),
            (seen.stolen_share, STOLEN_SHARE, "the host took {:.1%} of the machine's time"),
        )
        if figure is not None and figure > most
    ]
    if shared:
        brands.append(Brand(name="shared", detail=", ".join(shared)))
    return brands


def _throttled(seen: Conditions, full_load: bool) -> list[str]:
    first, *rest = seen.moments
    known = set(first.throttling or ())
    causes = sorted(
        {
            text
            for moment in rest
            for text in moment.throttling or ()
            if "occurred" not in text or text not in known
        }
    )
    clocks = [
        moment.clock_mhz
        for moment in rest[:-1]  # the last one is after the work
        if moment.clock_mhz is not None and moment.at_s > 0
    ]
    if full_load and clocks and min(clocks) < CLOCK_SHARE * max(clocks):
        causes.append(f"the clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz")
    return causes
