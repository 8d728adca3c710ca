"""Signals that a program waits for."""

from __future__ import annotations

import queue
import signal


class Signals:
    """Signals as items of a queue, from its creation on; belongs to the main thread.

    A handler interrupts any instruction, so it must take no lock that the interrupted code may
    hold. `threading.Event.set` does: a signal during `Event.wait` could stop the program forever.
    `SimpleQueue.put` may be called from handlers.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._arrived: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in numbers:
            signal.signal(number, lambda arrived, _: self._arrived.put(arrived))

    def wait(self, most_s: float) -> int | None:
        """Return the next signal; None if there is none within `most_s` seconds."""
        try:
            return self._arrived.get(timeout=most_s)
        except queue.Empty:
            return None
