"""Threads that run beside the main loop for as long as the daemon does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

SHORTEST_S = 0.5
LONGEST_S = 30.0
"""Shortest and longest pause before a restart. It doubles each time, and starts again at the
shortest after a run that was longer than the longest."""


@dataclass(frozen=True)
class ThreadState:
    """State of a helper thread, for the status and the metrics."""

    alive: bool
    restarts: int
    last_error: str | None


class HelperThread:
    """Runs a function on its own thread, and again if it fails.

    One failure, such as a lack of file descriptors, must not end a helper for as long as the daemon
    runs. Each failure is logged and counted. A function that returns has ended as intended.
    """

    def __init__(
        self, name: str, run: Callable[[], None], *, shortest_s: float = SHORTEST_S
    ) -> None:
        """Start calling `run`; the first pause before a restart is `shortest_s` seconds."""
        self.name = name
        self._run = run
        self._shortest_s = shortest_s
        self._restarts = 0
        self._last_error: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)
        self._thread.start()

    def state(self) -> ThreadState:
        """Return the current state; may be called from any thread."""
        return ThreadState(self._thread.is_alive(), self._restarts, self._last_error)

    def is_alive(self) -> bool:
        """Return whether the thread runs, or waits to be restarted."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Prevent further restarts. The function itself is not interrupted."""
        self._stopped.set()

    def join(self, wait_s: float | None = None) -> None:
        """Wait up to `wait_s` seconds for the end of the thread; None means no limit."""
        self._thread.join(wait_s)

    def _supervise(self) -> None:
        pause_s = self._shortest_s
        while True:
            began_s = time.monotonic()
            try:
                self._run()
            except (Exception, SystemExit) as error:
                self._restarts += 1
                self._last_error = f"{type(error).__name__}: {error}"
                log.error("the thread %s failed and is restarted: %s", self.name, self._last_error)
            else:
                return
            if time.monotonic() - began_s > LONGEST_S:
                pause_s = self._shortest_s
            if self._stopped.wait(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_S)
