"""Which engine serves each of the bundles, some of which cannot be used here, and what it says.

python engine.py BUNDLE...
"""

from __future__ import annotations

import json
import logging
import sys

from edge_runtime.engine import open_engine


class Said(logging.Handler):
    """Keeps what the runtime says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(record.getMessage())


if __name__ == "__main__":
    found = []
    for path in sys.argv[1:]:
        logging.getLogger().handlers = [said := Said()]
        found.append({"engine": open_engine(path).name, "said": said.lines})
    sys.stdout.write(json.dumps(found) + "\n")
