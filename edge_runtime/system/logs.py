"""What the runtime says while it runs: a line each on stderr, and never the same one endlessly."""

from __future__ import annotations

import logging
import os
import time
from typing import TextIO

_MEMORY = 200
"""Messages whose counts are kept."""

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""What the journal calls them (sd-daemon(3))."""


class RateLimit(logging.Filter):
    """Lets each message pass a few times a minute, then says how often it was held back."""

    def __init__(self, burst: int = 5, period_s: float = 60.0) -> None:
        super().__init__()
        self._burst, self._period_s = burst, period_s
        self._counts: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show `record`; adds the count to its message."""
        text = record.getMessage()
        now_s = time.monotonic()
        began_s, count = self._counts.pop(text, (now_s, 0))
        held = count - self._burst
        if now_s - began_s >= self._period_s:
            began_s, count = now_s, 0
        self._counts[text] = (began_s, count + 1)
        if len(self._counts) > _MEMORY:
            del self._counts[next(iter(self._counts))]
        if count == 0 and held > 0:
            record.msg, record.args = f"{text} ({held} times more since)", ()
        return count < self._burst


class _Line(logging.Formatter):
    """ "edge-runtime: message", with the priority in front where the journal reads."""

    def __init__(self, journal: bool) -> None:
        super().__init__("%(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = "edge-runtime: " + " ".join(super().format(record).split())
        if not self._journal:
            return line
        return f"<{next(code for level, code in _PRIORITIES if record.levelno >= level)}>{line}"


def start_logging(stream: TextIO, level: str) -> None:
    """Show messages of `level` and above on `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Line("JOURNAL_STREAM" in os.environ))
    handler.addFilter(RateLimit())
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("edge_runtime").setLevel(level.upper())
