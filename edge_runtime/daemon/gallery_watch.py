"""Detect that the gallery file was replaced, for example by a restored backup."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery
from edge_runtime.model import ModelInfo
from edge_runtime.recognition.pipeline import Pipeline

log = logging.getLogger(__name__)


class GalleryWatch:
    """Watches the identity of the gallery file.

    Changes inside one file are the gallery's own business: it detects them itself.
    """

    def __init__(
        self,
        pipelines: Callable[[], Sequence[Pipeline]],
        model: ModelInfo,
        report: Callable[[Exception], None],
        *,
        must_write: bool = False,
    ) -> None:
        """Watch the gallery that all `pipelines()` share; the list is never empty.

        `report` receives the error if a replacement cannot be opened. The pipelines then keep the
        previous gallery. `must_write`: a gallery that cannot be changed is a fault.
        """
        self.reopened = 0
        self.fault = ""
        """What is wrong with the file now; empty if nothing is."""
        self._must_write = must_write
        self._pipelines = pipelines
        self._model = model
        self._report = report
        self._identity = _identity(self._gallery.path)

    @property
    def _gallery(self) -> Gallery:
        return self._pipelines()[0].gallery

    def check(self) -> None:
        """Open the file at the gallery's path if it is not the one that is open; see `fault`."""
        path = self._gallery.path
        current = _identity(path)
        if current is not None and current != self._identity:
            self.reopen()
        if current is None:
            self._set_fault(f"{path}: the gallery was deleted: restore a backup, or restart")
        elif self._must_write and not (
            os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        ):
            self._set_fault(f"{path}: the gallery is not writable: check its owner and its disk")
        else:
            self._set_fault("")

    def _set_fault(self, fault: str) -> None:
        if fault and fault != self.fault:
            log.error("%s", fault)
        elif self.fault and not fault:
            log.info("%s: the gallery is usable again", self._gallery.path)
        self.fault = fault

    def reopen(self) -> None:
        """Open the file at the gallery's path unconditionally; reports errors, raises none."""
        before = self._gallery
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
        for pipeline in self._pipelines():
            pipeline.gallery = after
        self._identity = current
        self.reopened += 1
        before.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        # Called once per second for as long as the daemon runs: os.stat creates no Path object.
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
