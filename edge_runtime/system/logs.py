"""Logging: one line per message on stderr, with a rate limit on repeated messages."""

from __future__ import annotations

import logging
import os
import time
from typing import TextIO

from edge_runtime.redaction import redact
from edge_runtime.system.printable import printable

_MAX_MESSAGES = 200
"""Number of different messages that are counted."""

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
"""Log levels and their priorities in the journal (sd-daemon(3))."""


class RateLimit(logging.Filter):
    """Passes each message a few times per minute, then reports how often it was suppressed."""

    def __init__(self, burst: int = 5, period_s: float = 60.0) -> None:
        super().__init__()
        self._burst, self._period_s = burst, period_s
        self._counts: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show `record`; add the number of suppressed repetitions."""
        text = record.getMessage()
        now_s = time.monotonic()
        began_s, count = self._counts.pop(text, (now_s, 0))
        suppressed = count - self._burst
        if now_s - began_s >= self._period_s:
            began_s, count = now_s, 0
        self._counts[text] = (began_s, count + 1)
        if len(self._counts) > _MAX_MESSAGES:
            del self._counts[next(iter(self._counts))]
        if count == 0 and suppressed > 0:
            record.msg, record.args = f"{text} ({suppressed} more times since)", ()
        return count < self._burst


class _LineFormatter(logging.Formatter):
    """Formats a record as "edge-runtime: message", without secrets of addresses; for the journal,
    with a priority prefix."""

    def __init__(self, journal: bool) -> None:
        super().__init__("%(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = printable(redact(" ".join(super().format(record).split())))
        line = f"edge-runtime: {line}"
        if not self._journal:
            return line
        return f"<{next(code for level, code in _PRIORITIES if record.levelno >= level)}>{line}"


def start_logging(stream: TextIO, level: str) -> None:
    """Write messages of `level` and above to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_LineFormatter("JOURNAL_STREAM" in os.environ))
    handler.addFilter(RateLimit())
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("edge_runtime").setLevel(level.upper())
