"""Work for the main loop's thread: other threads submit it and wait for the result.

An engine serves one thread, so the API's pictures are hashed on the thread that hashes the camera's
frames, one between two frames. This needs no second copy of the network in memory and no lock in
the pipeline, and delays a frame by one picture at most.
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
    """A short queue of functions; `changed` is notified when one is added."""

    def __init__(self, changed: threading.Condition, capacity: int = CAPACITY) -> None:
        self._changed = changed
        self._capacity = capacity
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closed = False

    def run(self, function: Callable[[], T], timeout_s: float = 10.0) -> T:
        """Call `function` on the main loop's thread and return its result; raises what it raises.

        Raises `BusyError` if the queue is full, or if the main loop does not start the function
        within `timeout_s`.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed or len(self._waiting) >= self._capacity:
                raise BusyError("too many requests at once", remedy="try again in a second")
            self._waiting.append((function, future))
            self._changed.notify_all()
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if not future.cancel():
                return future.result(timeout_s)  # the function has just started
            raise BusyError("timed out in the queue", remedy="try again in a second") from None

    def waiting(self) -> bool:
        """Return whether a function waits."""
        return bool(self._waiting)

    def run_one(self) -> None:
        """Run the oldest function, if there is one; its exception goes to its caller."""
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
        """Refuse the functions that wait, and all later ones."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
        for _, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(BusyError("the daemon is shutting down"))
