"""Print which engine each bundle gets and what the runtime logs about it.

Some of the bundles cannot be used on this machine.

python engine.py BUNDLE...
"""

from __future__ import annotations

import json
import logging
import sys

from edge_runtime.engine import open_engine


class LogLines(logging.Handler):
    """Collects log messages."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect one message."""
        self.lines.append(record.getMessage())


if __name__ == "__main__":
    outcomes = []
    for path in sys.argv[1:]:
        logging.getLogger().handlers = [log := LogLines()]
        outcomes.append({"engine": open_engine(path).name, "log": log.lines})
    sys.stdout.write(json.dumps(outcomes) + "\n")
