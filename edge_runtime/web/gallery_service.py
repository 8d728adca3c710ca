"""The gallery as the API sees it: its own connection on a thread of its own.

Pictures are hashed by the path's engine, between two frames; a commit may take as long as an SD
card likes without the path noticing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import cv2

from edge_runtime.code import Code
from edge_runtime.daemon.work_queue import WorkQueue
from edge_runtime.engine import Engine
from edge_runtime.enroll import thumbnail_of, views_of
from edge_runtime.errors import PhotoError
from edge_runtime.gallery import Gallery, Item, Note, check_label
from edge_runtime.image import Image
from edge_runtime.image.decode import decode_photo
from edge_runtime.recognition.pipeline import Pipeline, code_of
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from edge_runtime.types import QueryResult

T = TypeVar("T")


class BorrowedEngine(Engine):
    """The path's engine for other threads: each hash is an errand of the path's."""

    def __init__(self, engine: Engine, errands: WorkQueue) -> None:
        self._engine, self._errands = engine, errands
        self.name, self.reason, self.threads = engine.name, engine.reason, engine.threads
        self.model = engine.model

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`; raises `BusyError`, too."""
        return self._errands.run(lambda: self._engine.hash(image, timer))


class GalleryService:
    """Everything that the API does with the gallery; its methods may be awaited."""

    def __init__(self, live: Pipeline, errands: WorkQueue) -> None:
        """`live` is the path's own, whose thresholds count here too."""
        self._live = live
        self._engine = BorrowedEngine(live.engine, errands)
        self._gallery: Gallery | None = None
        self._opened_for: Gallery | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gallery")

    async def query(self, data: bytes) -> tuple[QueryResult, dict[int, str]]:
        """What the encoded photo `data` shows, and where the matches came from."""
        return await self._do(self._query, data)

    async def enrol_photo(self, label: str, data: bytes) -> dict[str, Any]:
        """Enrol an encoded photo under `label`."""
        return await self._do(self._enrol_photo, label, data)

    async def enrol_frame(self, label: str, image: Image, source: str) -> dict[str, Any]:
        """Enrol a camera's picture (uint8 H x W x 3, BGR) under `label`."""
        return await self._do(self._enrol, label, image, source, None)

    async def remove(self, label: str) -> int:
        """Forget `label`; gives how many items went. Raises `NotEnrolledError`."""
        return await self._do(self._remove, label)

    async def labels(self) -> dict[str, int]:
        """How many items each label has."""
        return await self._do(lambda: self._open().labels())

    async def thumbnail(self, label: str) -> bytes:
        """The photo kept for `label` as JPEG, or nothing. Raises `NotEnrolledError`."""
        return await self._do(lambda: self._open().thumbnail(check_label(label)))

    def close(self, wait_s: float) -> None:
        """Finish what has begun, within `wait_s`, and refuse the rest."""
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        wait([closing], wait_s)

    async def _do(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: function(*arguments)
        )

    # -- on the desk's thread -----------------------------------------------------------------

    def _open(self) -> Gallery:
        """The gallery, opened anew whenever the path has done so (its file was replaced)."""
        if self._gallery is None or self._opened_for is not self._live.gallery:
            self._close()
            opened_for = self._live.gallery
            self._gallery = Gallery(opened_for.path, self._live.engine.model, create=True)
            self._opened_for = opened_for
        return self._gallery

    def _close(self) -> None:
        if self._gallery is not None:
            self._gallery.close()
            self._gallery = None

    def _query(self, data: bytes) -> tuple[QueryResult, dict[int, str]]:
        image = decode_photo(data)
        gallery = self._open()
        live = self._live
        pipeline = Pipeline(self._engine, gallery, neighbors=live.neighbors, radius=live.radius)
        result = pipeline.query(image)
        return result, gallery.sources([match.id for match in result.matches])

    def _remove(self, label: str) -> int:
        gallery = self._open()
        removed = gallery.remove(label=check_label(label))
        gallery.settle()
        return removed

    def _enrol_photo(self, label: str, data: bytes) -> dict[str, Any]:
        return self._enrol(label, decode_photo(data), "upload", hashlib.sha256(data).digest())

    def _enrol(self, label: str, image: Image, source: str, digest: bytes | None) -> dict[str, Any]:
        label = check_label(label)
        gallery = self._open()
        if digest is not None and gallery.known(label, digest):
            return {"label": label, "added": 0, "already_enrolled": True}
        items = [
            Item(
                label,
                code_of(self._engine, view),
                source,
                None if digest is None else digest + bytes([number]) * (number > 0),
            )
            for number, view in enumerate(views_of(image))
        ]
        # The first photo of a label stays the one it is shown with.
        note = Note(thumbnail=thumbnail_of(image))
        added = sum(id_ is not None for id_ in gallery.enroll(items, {label: note}))
        gallery.settle()
        return {"label": label, "added": added, "already_enrolled": False}


def jpeg(image: Image, longest: int, quality: int = 80) -> bytes:
    """`image` as JPEG, at most `longest` pixels on its longer side."""
    scale = longest / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise PhotoError("it cannot be written as JPEG")
    return data.tobytes()
