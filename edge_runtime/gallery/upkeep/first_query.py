"""Prepare a gallery whose whole content was replaced for a fast first query."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery.store import Gallery


def prepare(path: Path) -> None:
    """Write the snapshot file of the gallery at `path`, if it is large.

    Without one, every query would read all codes from the database. Raises nothing: a failure only
    slows down the next start.
    """
    with suppress(EdgeRuntimeError), Gallery(path) as gallery:
        gallery.save_snapshot()
