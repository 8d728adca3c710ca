"""Store events on a thread of its own.

The main loop only hands over events and pictures. They are encoded and committed here, because a
commit may take as long as an SD card needs. While the file cannot be written, events wait in memory
up to a limit, and the newest are stored once it can.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.database.side_file import DamagedError
from edge_runtime.errors import BusyError, EdgeRuntimeError, PhotoError
from edge_runtime.history.file import (
    Entry,
    Limits,
    Mark,
    count_events,
    history_file,
    mark,
    used_bytes,
    write,
)
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.image.pixels import jpeg
from edge_runtime.settings.history import HistorySettings
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.types import Event

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Events in memory that are not stored yet. The oldest is dropped then."""
MOST_PICTURES = 4
"""Camera pictures that wait to be encoded. Further events are stored without a snapshot."""
MOST_ENCODED = 100
"""Snapshots in memory while the file cannot be written; older events lose theirs."""
RETRY_S = 5.0
CLEAN_S = 3600.0
"""Seconds between two removals of old events while nothing happens."""
ANSWER_S = 10.0
QUALITY = 80


@dataclass(frozen=True)
class HistoryCounts:
    """What was recorded."""

    events: int
    """Number of events in the file."""
    bytes: int
    """Size of the file's content."""
    stored: int
    """Since the start."""
    dropped: int
    """Since the start: events that could not be stored."""


class Recorder:
    """Stores events in the history at `path`."""

    def __init__(self, path: Path, settings: HistorySettings, *, retry_s: float = RETRY_S) -> None:
        """Start to store; a file that cannot be opened is tried again every `retry_s`."""
        self.file = history_file(path)
        self.settings = settings
        """May be replaced at any time, except for the path."""
        self.paused = False
        """Whether events are ignored, because the history was turned off."""
        self.fault = ""
        """Why nothing can be stored now; empty if it can."""
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._new: deque[tuple[Event, Picture | None]] = deque()
        self._pictures = 0
        """Of `_new`."""
        self._marks: deque[tuple[str, Mark | None, Future[bool]]] = deque()
        self._suspect = False
        self._erasures: deque[Future[None]] = deque()
        self._end_s: float | None = None
        self._entries: list[Entry] = []
        """Encoded, but not stored yet."""
        self._connection: sqlite3.Connection | None = None
        self._counts = HistoryCounts(0, 0, 0, 0)
        self._stored = self._dropped = 0
        self.thread = HelperThread("history", self._run)

    def add(self, event: Event, picture: Picture | None) -> None:
        """Store `event` soon, with what its region showed. Returns at once and raises nothing."""
        if self.paused:
            return
        with self._changed:
            if picture is not None and (
                not self.settings.snapshots or self._pictures >= MOST_PICTURES
            ):
                picture = None
            if len(self._new) >= MOST_WAITING:
                _, lost = self._new.popleft()
                self._pictures -= lost is not None
                self._dropped += 1
            self._new.append((event, picture))
            self._pictures += picture is not None
            self._changed.notify_all()

    def mark(self, event_id: str, wrong: Mark | None) -> bool:
        """Mark an event as wrong, or remove the mark; return whether there is such an event.

        Called on another thread; waits for the commit. Raises `StorageError` or `BusyError`.
        """
        done: Future[bool] = Future()
        with self._changed:
            if self._end_s is not None or len(self._marks) >= MOST_WAITING:
                raise BusyError("the history is busy", remedy="try again in a second")
            self._marks.append((event_id, wrong, done))
            self._changed.notify_all()
        try:
            return done.result(ANSWER_S)
        except TimeoutError:
            done.cancel()
            raise BusyError("the history is busy", remedy="try again in a second") from None

    def erase(self) -> None:
        """Delete the file and what waits for it; only while `paused`.

        Called on another thread; waits for it. Raises `StorageError` or `BusyError`.
        """
        done: Future[None] = Future()
        with self._changed:
            self._erasures.append(done)
            self._changed.notify_all()
        try:
            done.result(ANSWER_S)
        except TimeoutError:
            raise BusyError("the history is busy", remedy="try again in a second") from None

    def suspect(self) -> None:
        """Check the file soon: a reader found it damaged."""
        with self._changed:
            self._suspect = True
            self._changed.notify_all()

    def counts(self) -> HistoryCounts:
        """Return what was recorded so far."""
        counts = self._counts
        return HistoryCounts(counts.events, counts.bytes, self._stored, self._dropped)

    def close(self, wait_s: float) -> None:
        """Store what waits, for up to `wait_s`, and end."""
        with self._changed:
            self._end_s = time.monotonic() + wait_s
            self._changed.notify_all()
        self.thread.stop()
        self.thread.join(wait_s)
        lost = len(self._new) + len(self._entries)
        if lost:
            log.warning("history: %d events were not stored before shutdown", lost)

    # -- on the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._guarded(self._clean)
            while True:
                woken = self._wait(self._retry_s if self.fault else CLEAN_S)
                self._encode()
                if self._erasures:
                    self._erase()
                elif not self.paused or self._entries or self._marks:
                    self._guarded(self._work if woken or self._entries else self._clean)
                if self._end_s is not None and not self._new:
                    return
        finally:
            self._close()

    def _wait(self, pause_s: float) -> bool:
        """Wait for something to do; return False if there is nothing after `pause_s`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: (
                    bool(self._new or self._marks or self._suspect or self._erasures)
                    or self._end_s is not None
                ),
                pause_s,
            )

    def _encode(self) -> None:
        """Turn all new events into entries. Events of one frame share a snapshot."""
        shared: tuple[Picture | None, bytes] = (None, b"")
        while True:
            with self._changed:
                if not self._new:
                    break
                event, picture = self._new.popleft()
                self._pictures -= picture is not None
            if picture is not shared[0]:
                shared = (picture, self._snapshot(picture))
            self._entries.append(Entry(event, shared[1]))
        extra = len(self._entries) - MOST_WAITING
        if extra > 0:
            self._dropped += extra
            del self._entries[:extra]
        for place, entry in enumerate(self._entries[:-MOST_ENCODED]):
            if entry.jpeg:
                self._entries[place] = Entry(entry.event)

    def _snapshot(self, picture: Picture | None) -> bytes:
        if picture is None:
            return b""
        try:
            return jpeg(picture.image, self.settings.snapshot_side, QUALITY)
        except PhotoError as error:
            log.warning("history: no snapshot: %s", error)
            return b""

    def _guarded(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """Run `work` on the open file; return whether it succeeded. One line for each fault."""
        try:
            with self.file.translated():
                if self._suspect:
                    self._close()  # what it has in memory may hide the damage
                self._connection = self._connection or self.file.open()
                work(self._connection)
                self._measure(self._connection)
        except DamagedError as error:
            return self._replace(error, work)
        except EdgeRuntimeError as error:
            self._close()
            if str(error) != self.fault:
                log.warning("history: nothing is stored: %s", error)
            self.fault = str(error)
            self._refuse_marks(error)
            return False
        if self.fault:
            log.info("history: storing again")
        self.fault = ""
        return True

    def _replace(self, error: DamagedError, work: Callable[[sqlite3.Connection], None]) -> bool:
        self._close()
        try:
            self.file.set_aside(str(error))
        except OSError as fault:
            log.warning("history: %s: %s", error, fault)
            return False
        return self._guarded(work)

    def _erase(self) -> None:
        self._close()
        self._entries, self._suspect = [], False
        self._refuse_marks(BusyError("the history was deleted"))
        done = self._erasures.popleft()
        try:
            self.file.remove()
        except EdgeRuntimeError as error:
            done.set_exception(error)
            return
        self._counts = HistoryCounts(0, 0, 0, 0)
        done.set_result(None)

    def _clean(self, connection: sqlite3.Connection) -> None:
        write(connection, [], self._limits)

    def _work(self, connection: sqlite3.Connection) -> None:
        if self._suspect:
            self._suspect = False
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedError(str(verdict).replace("\n", " "))
        if self._entries:
            write(connection, self._entries, self._limits)
            self._stored += len(self._entries)
            self._entries = []
        while self._marks:
            event_id, wrong, done = self._marks[0]
            if done.running() or done.set_running_or_notify_cancel():
                found = mark(connection, event_id, wrong)
                done.set_result(found)
            self._marks.popleft()

    def _refuse_marks(self, error: EdgeRuntimeError) -> None:
        while self._marks:
            done = self._marks.popleft()[2]
            if done.running() or done.set_running_or_notify_cancel():
                done.set_exception(error)

    def _measure(self, connection: sqlite3.Connection) -> None:
        self._counts = HistoryCounts(count_events(connection), used_bytes(connection), 0, 0)

    @property
    def _limits(self) -> Limits:
        return Limits(self.settings.days, round(self.settings.megabytes * 1e6))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
