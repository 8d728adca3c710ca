"""The inbox as a part of the daemon: it takes sightings on a thread of its own.

Whatever fails here, such as a full disk, is logged once, and recognition continues. The file is
then opened again after a pause.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from edge_runtime.daemon.loop import Daemon
from edge_runtime.daemon.parts import Change
from edge_runtime.database.side_file import DamagedError
from edge_runtime.errors import BusyError, EdgeRuntimeError, NotEnrolledError, StorageError
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.settings import Settings
from edge_runtime.settings.unknowns import UnknownsSettings
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.types import QueryResult
from edge_runtime.unknowns.inbox import Inbox
from edge_runtime.unknowns.sightings import Share, Sighting, Watch
from edge_runtime.unknowns.store import set_aside, unknowns_file

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_SIGHTINGS = 2
"""Sightings that wait; more are dropped. Each holds a frame."""
MOST_REQUESTS = 12
"""Requests that wait; more are refused."""
PAUSE_S = 30.0
"""After a failure, sightings are dropped for this long."""

REPORT_S = 3600.0
ANSWER_S = 10.0


def path_beside(gallery: Path) -> Path:
    """Return the path of the inbox that belongs to a gallery: NAME.unknowns.sqlite."""
    return gallery.with_name(f"{gallery.stem}.unknowns.sqlite")


class Unknowns:
    """Collects unknown things; an `AttachedPart`."""

    def __init__(self, daemon: Daemon, pipeline: Pipeline, settings: Settings) -> None:
        """Observe `daemon`, whose `pipeline` this is; the configuration has a table `unknowns`."""
        assert settings.unknowns is not None
        self.path = path_beside(pipeline.gallery.path)
        self._pipeline = pipeline
        self.waiting = 0
        """The number of things that wait for a name."""
        self.paused = False
        """Whether nothing is collected, because the inbox was turned off."""
        self._model = pipeline.engine.model
        self._settings: UnknownsSettings = settings.unknowns
        self._window = settings.decision.window
        self._inbox: Inbox | None = None
        self._fault, self._reported_s = "", 0.0
        self._paused_until_s = 0.0
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._sightings = threading.Semaphore(MOST_SIGHTINGS)
        self._requests = threading.Semaphore(MOST_REQUESTS)
        self._thread = HelperThread("unknowns", self._run)
        watch = Watch(self._model.bits, lambda: self._window, self._take, self._is_settled)
        daemon.observers.append(watch.observe)
        self._tasks.put(self._open_now)

    @property
    def threads(self) -> Sequence[HelperThread]:
        """See `AttachedPart`."""
        return (self._thread,)

    def check(self) -> None:
        """See `AttachedPart`: its failure stops nothing."""

    def prepare(self, settings: Settings) -> Change:
        """See `AttachedPart`."""
        new = settings.unknowns

        def apply() -> None:
            self._window = settings.decision.window
            self.paused = new is None
            if new is not None:
                self._settings = new
                self._tasks.put(self._apply)

        return Change(apply, tables=frozenset({"unknowns"}))

    def close(self, wait_s: float) -> None:
        """See `AttachedPart`."""
        self._thread.stop()
        self._tasks.put(None)
        self._thread.join(wait_s)

    def ask(self, question: Callable[[Inbox], T]) -> Future[T]:
        """Ask the inbox on its thread.

        Raises `BusyError`; the answer may raise `EdgeRuntimeError`.
        """
        if not self._requests.acquire(blocking=False):
            raise BusyError("too many requests at once", remedy="try again in a second")
        answer: Future[T] = Future()

        def run() -> None:
            self._requests.release()
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(self._with_inbox(question))
            except BaseException as error:
                answer.set_exception(error)

        self._tasks.put(run)
        return answer

    def erase(self) -> None:
        """Delete the file; only while `paused`. Raises `StorageError` or `BusyError`."""
        done: Future[None] = Future()

        def run() -> None:
            inbox, self._inbox = self._inbox, None
            if inbox is not None:
                inbox.store.close()
            try:
                unknowns_file(self.path).remove()
            except EdgeRuntimeError as error:
                done.set_exception(error)
            else:
                self.waiting = 0
                done.set_result(None)

        self._tasks.put(run)
        try:
            done.result(ANSWER_S)
        except TimeoutError:
            raise BusyError("the inbox is busy", remedy="try again in a second") from None

    # -- on the main thread -------------------------------------------------------------------

    def _is_settled(self, result: QueryResult) -> bool:
        """Return whether the label `UNKNOWN` says that this must not be named."""
        labels = result.label_similarities
        if not labels or labels[0].label != UNKNOWN:
            return False
        try:
            calibration = self._pipeline.gallery.calibration()
        except EdgeRuntimeError:
            return False
        if calibration is None:
            return False
        return labels[0].similarity >= calibration.of_looks(result.looks).threshold(
            self._pipeline.false_name_rate
        )

    def _take(self, what: Sighting | Share) -> bool:
        """Hand over what was seen; False if the thread is busy."""
        if (
            self.paused
            or time.monotonic() < self._paused_until_s
            or not self._sightings.acquire(blocking=False)
        ):
            return False

        def run() -> None:
            self._sightings.release()
            add = Inbox.add if isinstance(what, Sighting) else Inbox.count
            try:
                self._with_inbox(lambda inbox: add(inbox, what))  # type: ignore[arg-type]
            except EdgeRuntimeError as error:
                self._paused_until_s = time.monotonic() + PAUSE_S
                self._report(error)

        self._tasks.put(run)
        return True

    # -- on its own thread --------------------------------------------------------------------

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        self._close()

    def _open_now(self) -> None:
        """Open the file at the start, so that the page shows what is in it."""
        try:
            self._with_inbox(lambda _: None)
        except EdgeRuntimeError as error:
            self._report(error)

    def _report(self, error: EdgeRuntimeError) -> None:
        """Log a fault, and the same one again only after an hour."""
        now_s = time.monotonic()
        if str(error) != self._fault or now_s - self._reported_s > REPORT_S:
            self._fault, self._reported_s = str(error), now_s
            log.warning("the inbox of unknown things: %s", error)

    def _apply(self) -> None:
        if self._inbox is not None:
            self._inbox.settings = self._settings
            self.waiting = self._inbox.waiting

    def _with_inbox(self, question: Callable[[Inbox], T]) -> T:
        """Answer a question; raises `EdgeRuntimeError`.

        A damaged file is renamed, and a new one begins. After any failure of the file it is opened
        again the next time, because what is in memory may differ from it.
        """
        try:
            return self._answer(question)
        except DamagedError as error:
            set_aside(self.path, str(error))
        try:
            return self._answer(question)
        except DamagedError as error:
            raise StorageError(f"damaged: {error}", where=self.path) from error

    def _answer(self, question: Callable[[Inbox], T]) -> T:
        if self._inbox is None:
            self._inbox = Inbox(self.path, self._model, self._settings)
        try:
            answer = question(self._inbox)
        except NotEnrolledError:
            raise
        except BaseException:
            inbox, self._inbox = self._inbox, None
            inbox.store.close()
            raise
        self.waiting = self._inbox.waiting
        return answer

    def _close(self) -> None:
        """Write what is not written yet; a failure loses some counts."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            with suppress(EdgeRuntimeError, DamagedError):
                inbox.close()
