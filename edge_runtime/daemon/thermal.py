"""A slower pace while the board is hot or throttled."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from edge_runtime.system.device import temperature_c, throttling

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
COOLED_C = 5.0
"""Degrees below "hot" at which the pace is normal again."""


@dataclass(frozen=True)
class Reading:
    """How warm the board is. None: it does not say."""

    temperature_c: float | None = None
    throttling: tuple[str, ...] | None = None
    """What its firmware does about it (or about the power supply) now; empty: nothing."""


class Thermostat:
    """Decides from readings whether to go slow, with a gap between on and off."""

    def __init__(self, hot_c: float) -> None:
        self.hot_c = hot_c
        self.slow = False

    def update(self, reading: Reading) -> bool:
        """Whether to go slow from now on."""
        limit_c = self.hot_c - COOLED_C if self.slow else self.hot_c
        hot = reading.temperature_c is not None and reading.temperature_c >= limit_c
        slow = hot or bool(reading.throttling)
        if slow != self.slow:
            causes = ", ".join(reading.throttling or ())
            if not causes and reading.temperature_c is not None:
                causes = f"{reading.temperature_c:.0f} C"
            log.warning(
                "%s%s", "going slow: " if slow else "at full pace again: ", causes or "cool"
            )
        self.slow = slow
        return slow


class Climate:
    """Reads the board's sensors now and then, on a thread of its own: asking may take a while."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.reading = Reading()
        self._interval_s = interval_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="climate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._end.set()

    def _run(self) -> None:
        while True:
            self.reading = read()
            if self._end.wait(self._interval_s):
                return


def read() -> Reading:
    """The sensors as they are now."""
    reasons = throttling()
    return Reading(
        temperature_c(),
        None if reasons is None else tuple(text for text in reasons if "occurred" not in text),
    )
