"""A bounded queue in front of a sink, and a thread that empties it.

The pipeline never waits for a sink.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_runtime.errors import SinkError, storage_error
from edge_runtime.shortage import shortage
from edge_runtime.sinks.base import Sink
from edge_runtime.system.helper_thread import HelperThread
from edge_runtime.types import Event

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deliver events to `sink`.

        An event fails after `attempts` attempts; None means no limit. The pause between attempts
        doubles from `shortest_s` to `longest_s`, with jitter. With `lossless`, `publish` waits when
        the queue is full instead of dropping the oldest event; use it with sources that can wait.
        `after` is the outbox that this one replaces. It is closed before `sink` is opened, so that
        the two cannot contradict each other.
        """
        self.name = sink.name
        self.sink = sink
        self.last_error = ""
        self._attempts = attempts
        self._pauses_s = (shortest_s, longest_s)
        self._capacity = capacity
        self._lossless = lossless
        self._after = after
        self._clock = clock
        self._events: deque[Event] = deque()
        self._published = self._delivered = self._dropped = self._failed = 0
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
                    lambda: len(self._events) < self._capacity or self._end_s is not None
                )
            elif len(self._events) >= self._capacity:
                self._events.popleft()
                self._dropped += 1
            self._events.append(event)
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

    def close(self, wait_s: float = 1.0) -> None:
        """Deliver events for up to `wait_s`, count the rest as dropped, and close the sink.

        A sink that is still busy then is closed by its own thread when it is done.
        """
        with self._changed:
            self._end_s = self._clock() + wait_s
            self._changed.notify_all()
        self.thread.join(wait_s + GRACE_S)
        with self._changed:
            self._dropped += len(self._events)
            lost, self._events = len(self._events), deque()
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
            self.sink.open()
        except Exception as error:  # the deliveries report the error in detail
            log.warning("%s", _as_sink_error(error, self.name))

    def _deliver_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._end_s is not None)
                if not self._events:
                    return
                event = self._events.popleft()
                self._changed.notify_all()
            delivered = False
            try:
                delivered = self._deliver(event)
            finally:  # counted even if this thread fails, as it is restarted
                with self._changed:
                    self._delivered += delivered
                    self._failed += not delivered

    def _deliver(self, event: Event) -> bool:
        attempt = 0
        while True:
            try:
                self.sink.publish(event)
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
