"""Slow functions for handlers, on threads that a hanging camera or broker may keep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from edge_runtime.errors import BusyError

T = TypeVar("T")
MOST = 4


class Background:
    """Runs functions, a few at a time. Their threads end with the process at the latest."""

    def __init__(self, most: int = MOST) -> None:
        self._free = threading.Semaphore(most)

    async def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns; raises what it raises, and `BusyError`."""
        if not self._free.acquire(blocking=False):
            raise BusyError("too many requests at once", remedy="try again in a few seconds")
        future: Future[T] = Future()

        def call() -> None:
            try:
                result = function()
            except BaseException as error:
                self._free.release()
                _answer(future.set_exception, error)
            else:
                self._free.release()
                _answer(future.set_result, result)

        try:
            threading.Thread(target=call, name="background", daemon=True).start()
        except RuntimeError:  # no thread can be started
            self._free.release()
            raise BusyError("the board has no thread left", remedy="try again later") from None
        return await asyncio.wrap_future(future)


def _answer(send: Callable[[Any], None], value: Any) -> None:
    with suppress(Exception):  # the client has gone, and its future was cancelled
        send(value)
