"""Work for the path's thread: other threads hand it in, and wait for the answer.

An engine serves one thread. So the API's pictures are hashed where the camera's are, one between
two frames: no second copy of the network in memory, no lock on the path, and no frame later than
one picture.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from edge_runtime.errors import BusyError

T = TypeVar("T")
CAPACITY = 16


class WorkQueue:
    """A short queue of functions; `changed` is notified when there is one."""

    def __init__(self, changed: threading.Condition, capacity: int = CAPACITY) -> None:
        self._changed = changed
        self._capacity = capacity
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closed = False

    def run(self, function: Callable[[], T], timeout_s: float = 10.0) -> T:
        """What `function` gives, called on the path's thread; raises what it raises.

        Raises `BusyError` when the queue is full or nobody came to it in time.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed or len(self._waiting) >= self._capacity:
                raise BusyError("too much to do at once", remedy="try again in a second")
            self._waiting.append((function, future))
            self._changed.notify_all()
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if not future.cancel():
                return future.result(timeout_s)  # it has just begun
            raise BusyError("no time for it now", remedy="try again in a second") from None

    def waiting(self) -> bool:
        """Whether there is something to do."""
        return bool(self._waiting)

    def do_one(self) -> None:
        """Do the oldest, if there is one; its failure is its caller's."""
        with self._changed:
            if not self._waiting:
                return
            function, future = self._waiting.popleft()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)

    def close(self) -> None:
        """Refuse what waits and what comes."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
        for _, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(BusyError("it is shutting down"))
