"""Reduce the frame rate while the board is hot or throttled."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from edge_runtime.system.device import temperature_c, throttling
from edge_runtime.system.helper_thread import HelperThread

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
HYSTERESIS_C = 5.0
"""The normal rate returns when the temperature is this many degrees below the limit."""


@dataclass(frozen=True)
class Reading:
    """Thermal state of the board. None means that the board does not report it."""

    temperature_c: float | None = None
    throttling: tuple[str, ...] | None = None
    """Why the firmware throttles the CPU now: heat or the power supply. Empty if it does not."""


class Thermostat:
    """Decides from readings whether to reduce the frame rate, with hysteresis."""

    def __init__(self, hot_c: float) -> None:
        self.hot_c = hot_c
        self.slow = False

    def update(self, reading: Reading) -> bool:
        """Return whether the frame rate is reduced from now on."""
        limit_c = self.hot_c - HYSTERESIS_C if self.slow else self.hot_c
        hot = reading.temperature_c is not None and reading.temperature_c >= limit_c
        slow = hot or bool(reading.throttling)
        if slow != self.slow:
            causes = ", ".join(reading.throttling or ())
            if not causes and reading.temperature_c is not None:
                causes = f"{reading.temperature_c:.0f} C"
            change = "frame rate reduced: " if slow else "back to the full frame rate: "
            log.warning("%s%s", change, causes or "cool")
        self.slow = slow
        return slow


class ThermalMonitor:
    """Reads the board's sensors periodically, on its own thread: a reading may take a while."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.reading = Reading()
        self._interval_s = interval_s
        self._end = threading.Event()
        self.thread = HelperThread("thermal", self._run)

    def close(self) -> None:
        """Stop reading."""
        self._end.set()
        self.thread.stop()

    def _run(self) -> None:
        while True:
            self.reading = read()
            if self._end.wait(self._interval_s):
                return


def read() -> Reading:
    """Read the sensors once."""
    reasons = throttling()
    return Reading(
        temperature_c(),
        None if reasons is None else tuple(text for text in reasons if "occurred" not in text),
    )
