"""A folder of photos as a camera."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from edge_runtime.camera.base import CameraOptions, Shot, Source
from edge_runtime.errors import PhotoError
from edge_runtime.image.decode import find_photos, read_photo
from edge_runtime.image.lazy_jpeg import Picture

log = logging.getLogger(__name__)


class FolderSource(Source):
    """The photos of a folder by path, or given photos; unusable ones are logged and skipped."""

    live = False

    def __init__(self, path: Path | Sequence[Path], options: CameraOptions | None = None) -> None:
        """Read `path`: a folder, one photo, or a sequence of photos."""
        self.name = str(path) if isinstance(path, Path) else f"{len(path)} photos"
        self._path = path
        self._options = options or CameraOptions()
        self._photos: Iterator[Path] = iter(())
        self._count = 0

    def clone(self) -> FolderSource:
        """See `Source.clone`."""
        return FolderSource(self._path, self._options)

    def open(self) -> None:
        """See `Source.open`."""
        if not isinstance(self._path, Path):
            photos = list(self._path)
        else:
            photos = [self._path] if self._path.is_file() else find_photos(self._path)
        self._count = len(photos)  # this many unusable photos in a row end the source
        self._photos = cycle(photos) if self._options.loop else iter(photos)

    def next(self) -> Shot | None:
        """See `Source.next`."""
        for path in islice(self._photos, self._count):
            if self._options.real_time:
                time.sleep(1 / self._options.fps)
            captured_at_s = time.monotonic()
            try:
                return Shot(Picture(read_photo(path)), captured_at_s, str(path))
            except PhotoError as error:
                log.warning("skipped: %s", error)
        return None

    def close(self) -> None:
        """See `Source.close`."""
