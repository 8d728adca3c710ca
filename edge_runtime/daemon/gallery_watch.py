"""Detect that the gallery file was replaced, for example by a restored backup."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery
from edge_runtime.model import ModelInfo
from edge_runtime.recognition.pipeline import Pipeline


class GalleryWatch:
    """Watches the identity of the gallery file.

    Changes inside one file are the gallery's own business: it detects them itself.
    """

    def __init__(
        self, pipeline: Pipeline, model: ModelInfo, report: Callable[[Exception], None]
    ) -> None:
        """Watch the gallery of `pipeline`.

        `report` receives the error if a replacement cannot be opened. The pipeline then keeps the
        previous gallery.
        """
        self.reopened = 0
        self._pipeline = pipeline
        self._model = model
        self._report = report
        self._identity = _identity(pipeline.gallery.path)

    def check(self) -> None:
        """Open the file at the gallery's path if it is not the one that is open."""
        current = _identity(self._pipeline.gallery.path)
        if current is not None and current != self._identity:
            self.reopen()

    def reopen(self) -> None:
        """Open the file at the gallery's path unconditionally; reports errors, raises none."""
        before = self._pipeline.gallery
        current = _identity(before.path)
        try:
            after = Gallery(before.path, self._model, read_only=True)
            try:
                after.snapshot()
            except EdgeRuntimeError:
                after.close()
                raise
        except EdgeRuntimeError as error:
            self._report(error)
            return
        self._pipeline.gallery, self._identity = after, current
        self.reopened += 1
        before.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        # Called once per second for as long as the daemon runs: os.stat creates no Path object.
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
