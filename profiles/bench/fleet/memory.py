"""The memory that following a fleet adds to a process that has a gallery open."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

import click
import psutil

from edge_runtime.gallery import Gallery

CONNECT_S = 20.0


def main() -> None:
    """Print megabytes before and after; the gallery is the argument."""
    path = Path(sys.argv[1])
    process = psutil.Process()
    with Gallery(path, read_only=True) as gallery:
        gallery.snapshot()
        gc.collect()
        before = process.memory_info().rss
        # Only here, so that the difference has the modules, too.
        from edge_runtime.fleet.service import Service

        service = Service(path, 3600.0)
        service.poll()
        link, end = service._link, time.monotonic() + CONNECT_S
        while link is not None and not link.free and time.monotonic() < end:
            time.sleep(0.05)
        service.poll()
        gc.collect()
        after = process.memory_info().rss
        connected = link is not None and link.free > 0
    click.echo(json.dumps({"before": before, "after": after, "connected": connected}))


if __name__ == "__main__":
    main()
