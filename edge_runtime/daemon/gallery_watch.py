"""Notices when the gallery's file has been replaced by another one, such as a restored backup."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery
from edge_runtime.model import ModelInfo
from edge_runtime.recognition.pipeline import Pipeline


class GalleryWatch:
    """Looks at the file's identity; changes within a file the gallery notices by itself."""

    def __init__(
        self, pipeline: Pipeline, model: ModelInfo, note: Callable[[Exception], None]
    ) -> None:
        """`note` is told why a replacement cannot be used; the one before is used on."""
        self.reopened = 0
        self._pipeline = pipeline
        self._model = model
        self._note = note
        self._seen = _identity(pipeline.gallery.path)

    def check(self) -> None:
        """Open what lies at the gallery's path now, if it is another file than before."""
        found = _identity(self._pipeline.gallery.path)
        if found is not None and found != self._seen:
            self.reopen()

    def reopen(self) -> None:
        """Open it, whatever it is; raises nothing."""
        before = self._pipeline.gallery
        found = _identity(before.path)
        try:
            after = Gallery(before.path, self._model, read_only=True)
            try:
                after.snapshot()
            except EdgeRuntimeError:
                after.close()
                raise
        except EdgeRuntimeError as error:
            self._note(error)
            return
        self._pipeline.gallery, self._seen = after, found
        self.reopened += 1
        before.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  (every second for a year: no object needed)
    except OSError:
        return None
    return found.st_dev, found.st_ino
