"""A bounded queue in front of a sink, and a thread that empties it.

The pipeline never waits for a sink.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_runtime.errors import BusyError, SinkError, storage_error
from edge_runtime.shortage import shortage
from edge_runtime.sinks.base import Sink
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.types import CameraState, Event

log = logging.getLogger(__name__)

GRACE_S = 0.1
"""Extra time for an attempt that ends exactly at the deadline."""


@dataclass(frozen=True)
class OutboxCounts:
    """Events by outcome; published = delivered + dropped + failed + waiting."""

    published: int
    delivered: int
    dropped: int
    """The oldest events of a full queue, and those left in the queue at shutdown."""
    failed: int
    """The sink refused the event, or every attempt failed."""
    waiting: int


class _Trial:
    """An event that is delivered outside the queue."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.begun = False
        self.error = ""
        self.done = threading.Event()


class Outbox(Sink):
    """Delivers events to another sink, in order, on its own thread."""

    def __init__(
        self,
        sink: Sink,
        *,
        capacity: int = 1000,
        attempts: int | None = None,
        shortest_s: float = 0.5,
        longest_s: float = 30.0,
        lossless: bool = False,
        after: Outbox | None = None,
        cameras: Sequence[CameraState] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deliver events to `sink`.

        An event fails after `attempts` attempts; None means no limit. The pause between attempts
        doubles from `shortest_s` to `longest_s`, with jitter. With `lossless`, `publish` waits when
        the queue is full instead of dropping the oldest event; use it with sources that can wait.
        `after` is the outbox that this one replaces. It is closed before `sink` is opened, so that
        the two cannot contradict each other. `cameras` are passed to `sink.open`.
        """
        self.name = sink.name
        self.sink = sink
        self.last_error = ""
        self._attempts = attempts
        self._pauses_s = (shortest_s, longest_s)
        self._capacity = capacity
        self._lossless = lossless
        self._after = after
        self._cameras = cameras
        self._clock = clock
        self._queue: deque[Event | CameraState] = deque()
        self._waiting = 0
        """Number of events in the queue; states of cameras are not counted."""
        self._published = self._delivered = self._dropped = self._failed = 0
        self._trial: _Trial | None = None
        self._end_s: float | None = None
        self._ended = self._abandoned = False
        self._changed = threading.Condition()
        self.thread = HelperThread(f"sink-{self.name}", self._run)

    def publish(self, event: Event) -> None:
        """See `Sink.publish`. Returns immediately unless `lossless`; raises nothing."""
        with self._changed:
            self._published += 1
            if self._lossless:
                self._changed.wait_for(
                    lambda: self._waiting < self._capacity or self._end_s is not None
                )
            elif self._waiting >= self._capacity:
                self._queue.remove(next(each for each in self._queue if isinstance(each, Event)))
                self._waiting -= 1
                self._dropped += 1
            self._queue.append(event)
            self._waiting += 1
            self._changed.notify_all()

    def show(self, camera: CameraState) -> None:
        """See `Sink.show`. Returns immediately; raises nothing.

        At most one state per camera waits, so a full queue of events never drops one.
        """
        with self._changed:
            for each in self._queue:
                if isinstance(each, CameraState) and each.camera == camera.camera:
                    self._queue.remove(each)
                    break
            self._queue.append(camera)
            self._changed.notify_all()

    def counts(self) -> OutboxCounts:
        """Return the number of events by outcome so far."""
        with self._changed:
            return OutboxCounts(
                self._published,
                self._delivered,
                self._dropped,
                self._failed,
                self._published - self._delivered - self._dropped - self._failed,
            )

    def attempt(self, event: Event, wait_s: float) -> str:
        """Deliver an event of the kind "test" in one attempt, outside the queue and uncounted.

        Returns what is wrong, or "" if it was delivered. Waits up to `wait_s`. Raises `BusyError`
        while another one is under way.
        """
        trial = _Trial(event)
        with self._changed:
            if self._trial is not None:
                raise BusyError("a test is under way", where=self.name)
            self._trial = trial
            self._changed.notify_all()
        trial.done.wait(wait_s)
        with self._changed:
            if self._trial is trial and not trial.begun:
                self._trial = None  # it must not be sent later
        if trial.done.is_set():
            return trial.error
        return self.last_error or f"no answer within {wait_s:g} s"

    def close(self, wait_s: float = 1.0) -> None:
        """Deliver events for up to `wait_s`, count the rest as dropped, and close the sink.

        A sink that is still busy then is closed by its own thread when it is done.
        """
        with self._changed:
            self._end_s = self._clock() + wait_s
            self._changed.notify_all()
        self.thread.join(wait_s + GRACE_S)
        with self._changed:
            lost, self._waiting = self._waiting, 0
            self._dropped += lost
            self._queue.clear()
            self._abandoned = not self._ended
        if lost:
            log.warning("%s: %d events were not delivered before shutdown", self.name, lost)
        if not self._abandoned:
            self.sink.close()

    def _run(self) -> None:
        if self._after is not None:
            self._after.close()
            self._after.thread.join()
            self._after = None
        if self._end_s is None or self._clock() < self._end_s:
            self._open()
            self._deliver_all()
        with self._changed:
            self._ended = True
            abandoned = self._abandoned
        if abandoned:
            self.sink.close()

    def _open(self) -> None:
        try:
            self.sink.open(self._cameras)
        except Exception as error:  # the deliveries report the error in detail
            log.warning("%s", _as_sink_error(error, self.name))

    def _deliver_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._trial or self._end_s is not None
                )
                if trial := self._trial:
                    trial.begun = True
                elif not self._queue:
                    return
                else:
                    item = self._queue.popleft()
                    self._waiting -= isinstance(item, Event)
                self._changed.notify_all()
            if trial:
                self._try(trial)
                continue
            delivered = False
            try:
                delivered = self._deliver(item)
            finally:  # counted even if this thread fails, as it is restarted
                if isinstance(item, Event):
                    with self._changed:
                        self._delivered += delivered
                        self._failed += not delivered

    def _try(self, trial: _Trial) -> None:
        try:
            self.sink.test(trial.event)
        except Exception as error:  # a bug in a sink must not stop later deliveries
            trial.error = str(_as_sink_error(error, self.name))
        finally:
            self._trial = None
            trial.done.set()

    def _deliver(self, item: Event | CameraState) -> bool:
        attempt = 0
        while True:
            try:
                if isinstance(item, Event):
                    self.sink.publish(item)
                else:
                    self.sink.show(item)
            except Exception as error:  # a bug in a sink must not stop later deliveries
                fault = _as_sink_error(error, self.name)
            else:
                if self.last_error:
                    log.info("%s: delivering again", self.name)
                    self.last_error = ""
                return True
            attempt += 1
            if str(fault) != self.last_error:
                log.warning("%s", fault)
                self.last_error = str(fault)
            if not fault.retry or attempt == self._attempts or not self._pause(attempt):
                return False

    def _pause(self, attempt: int) -> bool:
        """Wait before the next attempt; return False after the deadline."""
        shortest_s, longest_s = self._pauses_s
        pause_s = min(longest_s, shortest_s * 2.0 ** min(attempt - 1, 30)) * random.uniform(0.5, 1)
        with self._changed:
            if self._end_s is None:
                self._changed.wait_for(lambda: self._end_s is not None, timeout=pause_s)
            else:
                self._changed.wait(min(pause_s, max(0.0, self._end_s - self._clock())))
            return self._end_s is None or self._clock() < self._end_s


def _as_sink_error(error: Exception, name: str) -> SinkError:
    if isinstance(error, SinkError):
        return error
    if isinstance(error, BrokenPipeError):
        return SinkError("the reader has closed the pipe", where=name, retry=False)
    if fault := shortage(error, name):  # it passes
        return SinkError(fault.what, where=name, remedy=fault.remedy)
    if isinstance(error, OSError) and (fault := storage_error(error, name)):
        return SinkError(fault.what, where=name, remedy=fault.remedy)
    return SinkError(
        f"{type(error).__name__}: {error}", where=name, retry=isinstance(error, OSError)
    )
