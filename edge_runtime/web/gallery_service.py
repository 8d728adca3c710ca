"""The gallery for the API, on a connection and a thread of its own.

Pictures are hashed by the daemon's engine, between two frames. A commit may take as long as an SD
card needs; the daemon does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from edge_runtime.code import Code, Embedding
from edge_runtime.daemon.work_queue import WorkQueue
from edge_runtime.engine import Engine
from edge_runtime.enroll import (
    EnrollOptions,
    EnrollResult,
    enroll_image,
    enroll_photos,
    fit_if_due,
)
from edge_runtime.errors import BusyError, EdgeRuntimeError
from edge_runtime.gallery import Counts, Gallery, check_label
from edge_runtime.gallery.advice.report import Advice
from edge_runtime.gallery.advice.survey import AdviceOptions
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.image import Image
from edge_runtime.image.decode import decode_photo
from edge_runtime.image.quality import PhotoFault, photo_fault
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from edge_runtime.types import LabelSimilarity, QueryResult

log = logging.getLogger(__name__)
T = TypeVar("T")
MOST_WAITING = 12
"""Operations that wait for the gallery; more are refused."""
ADVICE_PICTURES, ADVICE_PHOTOS = 300, 100
"""Pictures that are compared, and whose pixels are checked, for an advice."""


class BorrowedEngine(Engine):
    """The daemon's engine for other threads: each hash runs on the daemon's thread."""

    def __init__(self, engine: Engine, work_queue: WorkQueue) -> None:
        self._engine, self._work_queue = engine, work_queue
        self.name, self.reason, self.threads = engine.name, engine.reason, engine.threads
        self.model = engine.model

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`; also raises `BusyError`."""
        return self._work_queue.run(lambda: self._engine.hash(image, timer))

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """See `Engine.embed`; also raises `BusyError`."""
        return self._work_queue.run(lambda: self._engine.embed(image, timer))


class GalleryService:
    """The gallery operations of the API, to be awaited."""

    def __init__(
        self,
        live: Pipeline,
        work_queue: WorkQueue,
        *,
        keep_pictures: bool = False,
        refit: bool = True,
    ) -> None:
        """`live` is the daemon's pipeline, whose thresholds also apply to queries here.

        `keep_pictures`: see `EnrollOptions`. `refit`: fit the gallery after enrollment.
        """
        self._live = live
        self._keep_pictures, self._refit = keep_pictures, refit
        self._engine = BorrowedEngine(live.engine, work_queue)
        self._gallery: Gallery | None = None
        self._opened_for: Gallery | None = None
        self._advised: dict[bool, Advice] = {}
        self._advised_for: object = None
        """The content and the rate that `_advised` is about."""
        self._waiting = 0
        self._counting = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gallery")
        self._thread.submit(int)  # starts the thread now, while it can be

    async def query(self, data: bytes) -> tuple[QueryResult, dict[int, str]]:
        """Query an encoded photo; return the result and the sources of its matches, by id."""
        return await self._run(self._query, data)

    async def recognize(self, question: Callable[[Pipeline], T]) -> T:
        """Return the answer of `question` to a pipeline with the daemon's thresholds."""
        return await self._run(lambda: question(self._pipeline()))

    async def enroll_photo(self, label: str, data: bytes) -> dict[str, Any]:
        """Enroll an encoded photo under `label`."""
        return await self._run(self._enroll_photo, label, data)

    async def enroll_pictures(
        self, label: str, pictures: Sequence[bytes], source: str
    ) -> dict[str, Any]:
        """Enroll encoded pictures of one thing under `label`, in one commit."""
        return await self._run(self._enroll_encoded, label, pictures, source)

    async def nearest_labels(self, embeddings: Sequence[Embedding]) -> list[LabelSimilarity | None]:
        """Return the most similar label of each embedding.

        None if it is less similar than most strangers are, or without features.
        """
        return await self._run(self._nearest_labels, embeddings)

    async def enroll_frame(
        self, label: str, image: Image, source: str, *, careful: bool = False
    ) -> dict[str, Any]:
        """Enroll a camera frame (uint8 H x W x 3, BGR) under `label`.

        `careful`: not if it has a fault, which the answer names in any case.
        """
        return await self._run(self._enroll_frame, label, image, source, careful)

    async def remove(self, label: str) -> Counts:
        """Remove `label` with its pictures; raises `NotEnrolledError`."""
        return await self._run(self._remove, label)

    async def remove_pictures(self, ids: Sequence[int]) -> Counts:
        """Remove the pictures with these ids; raises `NotEnrolledError`."""
        return await self._run(self._remove_pictures, ids)

    async def labels(self) -> dict[str, Counts]:
        """Return the number of pictures and codes of each label."""
        return await self._run(lambda: self._open().label_counts())

    async def advice(self, *, quick: bool = False) -> Advice:
        """Return what to photograph next; limited, because other operations wait for it.

        `quick`: without a look at the pixels of the pictures. It is computed once per change of the
        gallery.
        """
        return await self._run(self._advice, quick)

    async def thumbnail(self, label: str) -> bytes:
        """Return the JPEG stored with `label`, or b""; raises `NotEnrolledError`."""
        return await self._run(lambda: self._open().thumbnail(check_label(label)))

    async def kept_picture(self, item_id: int) -> bytes:
        """Return the JPEG that was kept of a picture, or b""."""
        return await self._run(lambda: self._open().kept_picture(item_id))

    async def ask(self, question: Callable[[Gallery], T]) -> T:
        """Return the answer of `question` to the gallery, on its thread."""
        return await self._run(lambda: question(self._open()))

    async def change(self, change: Callable[[Gallery], T]) -> T:
        """Return what `change` does with the gallery, on its thread; then measure it again."""
        return await self._run(self._change, change)

    async def replace(self, replace: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Let `replace` put another content into the file; return its answer with the counts."""
        return await self._run(self._replace, replace)

    def close(self, wait_s: float) -> None:
        """Refuse new operations and wait up to `wait_s` for those that have begun."""
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        wait([closing], wait_s)

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        with self._counting:
            if self._waiting >= MOST_WAITING:
                raise BusyError("too many requests at once", remedy="try again in a second")
            self._waiting += 1
        done = self._thread.submit(function, *arguments)
        done.add_done_callback(self._finished)
        return await asyncio.wrap_future(done)

    def _finished(self, _done: object) -> None:
        with self._counting:
            self._waiting -= 1

    # -- on the gallery's thread --------------------------------------------------------------

    def _open(self) -> Gallery:
        """Return the gallery; reopen it if the daemon has, since its file was replaced then."""
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

    def _change(self, change: Callable[[Gallery], T]) -> T:
        gallery = self._open()
        done = change(gallery)
        gallery.checkpoint()
        self._thread.submit(self._calibrate)
        return done

    def _replace(self, replace: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        with suppress(EdgeRuntimeError):  # it may be corrupt, and that be the reason
            self._close()
        self._gallery = None
        outcome = replace(self._live.gallery.path)
        stats = self._open().stats()
        self._thread.submit(self._calibrate)
        counts = {"pictures": stats.pictures, "codes": stats.codes, "labels": stats.labels}
        return outcome | counts

    def _query(self, data: bytes) -> tuple[QueryResult, dict[int, str]]:
        pipeline = self._pipeline()
        result = pipeline.query(decode_photo(data))
        return result, pipeline.gallery.sources([match.id for match in result.matches])

    def _pipeline(self) -> Pipeline:
        live = self._live
        return Pipeline(
            self._engine,
            self._open(),
            neighbors=live.neighbors,
            radius=live.radius,
            false_name_rate=live.false_name_rate,
            second_look=live.second_look,
        )

    def _advice(self, quick: bool) -> Advice:
        gallery = self._open()
        state = (gallery.snapshot().generation, self._live.false_name_rate)
        if state != self._advised_for:
            self._advised_for, self._advised = state, {}
        if quick not in self._advised:
            most_photos = 0 if quick else ADVICE_PHOTOS
            options = AdviceOptions(
                self._live.false_name_rate, most_pictures=ADVICE_PICTURES, most_photos=most_photos
            )
            self._advised[quick] = gallery.advise(options)
        return self._advised[quick]

    def _remove(self, label: str) -> Counts:
        removed = self._open().remove(label=check_label(label))
        return self._removed(removed)

    def _remove_pictures(self, ids: Sequence[int]) -> Counts:
        return self._removed(self._open().remove_together(pictures=ids).counts)

    def _removed(self, counts: Counts) -> Counts:
        self._open().checkpoint()
        self._thread.submit(self._calibrate)
        return counts

    def _nearest_labels(self, embeddings: Sequence[Embedding]) -> list[LabelSimilarity | None]:
        gallery, found = self._open(), []
        for embedding in embeddings:
            ranking = gallery.rank(embedding, 1)
            best = None
            if ranking is not None:
                best = next((one for one in ranking.labels if one.label != UNKNOWN), None)
            if best is not None and ranking is not None:
                scale = ranking.calibration
                usual = scale.stranger_mean + scale.stranger_spread
                best = best if best.similarity >= usual else None
            found.append(best)
        return found

    def _enroll_photo(self, label: str, data: bytes) -> dict[str, Any]:
        return self._enroll_encoded(label, [data], "upload")

    def _enroll_encoded(self, label: str, photos: Sequence[bytes], source: str) -> dict[str, Any]:
        label, gallery = check_label(label), self._open()
        options = EnrollOptions(source=source, keep_pictures=self._keep_pictures)
        listed = [(label, data) for data in photos]
        result = enroll_photos(self._engine, gallery, listed, options)
        for fault in result.faults:
            raise fault
        self._fit_later()
        return _answer(gallery, label, result)

    def _enroll_frame(self, label: str, image: Image, source: str, careful: bool) -> dict[str, Any]:
        label, gallery = check_label(label), self._open()
        fault = photo_fault(image)
        if careful and fault is not None:
            return _answer(gallery, label, EnrollResult(), fault)
        options = EnrollOptions(source=source, keep_pictures=self._keep_pictures)
        result = enroll_image(self._engine, gallery, label, image, options)
        self._fit_later()
        return _answer(gallery, label, result, fault)

    def _fit_later(self) -> None:
        """Fit the gallery after the answer, on this thread, if enough has changed.

        A failure leaves the gallery as it is, and the next enrollment tries again.
        """
        if self._refit:
            self._thread.submit(self._fit)
        self._thread.submit(self._calibrate)

    def _fit(self) -> None:
        try:
            fitted = fit_if_due(self._engine, self._open())
        except EdgeRuntimeError as error:
            log.warning("the gallery was not fitted: %s", error)
        else:
            if fitted is not None:
                log.info("%s", fitted.summary().replace("\n", "; "))

    def _calibrate(self) -> None:
        try:
            self._open().store_calibration()
        except EdgeRuntimeError as error:
            log.warning("the gallery was not calibrated: %s", error)


def _answer(
    gallery: Gallery, label: str, result: EnrollResult, fault: PhotoFault | None = None
) -> dict[str, Any]:
    gallery.checkpoint()
    return {
        "label": label,
        "pictures_added": result.pictures_added,
        "codes_added": result.codes_added,
        "pictures_known": result.pictures_known,
        "pictures_completed": result.pictures_completed,
        "pictures": result.picture_ids,
        "fault": fault,
    }
