"""A camera being watched, for the Python API."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator

from edge_runtime.daemon.loop import Daemon
from edge_runtime.types import Event, Recognition


class Watch(Iterator[Recognition]):
    """A camera being watched: an iterator of recognitions.

    Each step blocks until something new comes into view, and the iteration ends with the file or
    folder, or with `stop`. A loop that is left with `break` closes the camera, unless the object is
    still referenced; then it can be continued, or ended with `close` or a `with` block.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._events = _events(daemon)  # not a method: a reference cycle would keep it open

    def __next__(self) -> Recognition:
        for event in self._events:
            if event.kind == "enter" and self._daemon.decider.current is not None:
                return self._daemon.decider.current
        raise StopIteration

    def events(self) -> Generator[Event, None, None]:
        """Iterate over events instead: each label that enters the view or leaves it.

        `events` and `next` read the same stream. `next` skips the "leave" events.
        """
        return self._events

    @property
    def current(self) -> Recognition | None:
        """The label in view now, or None if nothing is recognized."""
        return self._daemon.decider.current

    def stop(self) -> None:
        """End the iteration within half a second; callable from any thread or signal handler."""
        self._daemon.stop("stopped")

    def close(self) -> None:
        """Close the camera and end the iteration."""
        self._events.close()
        self._daemon.camera.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _events(daemon: Daemon) -> Generator[Event, None, None]:
    events: deque[Event] = deque()
    daemon.listeners.append(events.append)
    try:
        while daemon.running:
            daemon.run_once()
            while events:
                yield events.popleft()
    finally:
        daemon.camera.close()
