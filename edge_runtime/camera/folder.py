"""A folder of photos as a camera."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.camera.base import Shot, Source
from edge_runtime.errors import PhotoError
from edge_runtime.photo import find_photos, read_photo

log = logging.getLogger(__name__)


class FolderSource(Source):
    """The photos below a folder (or one photo), by name; damaged ones are logged and skipped."""

    live = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._photos: Iterator[Path] = iter(())

    def open(self) -> None:
        """See `Source.open`."""
        self._photos = iter([self._path] if self._path.is_file() else find_photos(self._path))

    def next(self) -> Shot | None:
        """See `Source.next`."""
        for path in self._photos:
            captured_at_s = time.monotonic()
            try:
                return Shot(read_photo(path), captured_at_s, str(path))
            except PhotoError as error:
                log.warning("skipped: %s", error)
        return None

    def close(self) -> None:
        """See `Source.close`."""
