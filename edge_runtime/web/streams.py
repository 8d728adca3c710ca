"""What goes on for as long as someone watches: events and the camera's picture."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_runtime.types import Event
from edge_runtime.web.gallery_service import jpeg

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service

WATCHERS = 8
"""Streams of one kind at once."""
PICTURE_S = 0.2
"""Between two pictures of the live view."""
PICTURE_SIDE = 640
BOUNDARY = b"frame"


class FullError(Exception):
    """Too many watch already."""


class EventStream:
    """Server-sent events: each recognition as it happens, and the status once a second."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status
        self._queues: set[asyncio.Queue[Event]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, event: Event) -> None:
        """Called on the path's thread."""
        loop = self._loop
        if loop is not None and self._queues and not loop.is_closed():
            loop.call_soon_threadsafe(self._spread, event)

    def _spread(self, event: Event) -> None:
        for queue in self._queues:
            if not queue.full():  # a client that does not read loses events, not we memory
                queue.put_nowait(event)

    def watch(self) -> AsyncIterator[bytes]:
        """The stream of one client; raises `FullError`."""
        if len(self._queues) >= WATCHERS:
            raise FullError
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue(100)
        self._queues.add(queue)
        return self._run(queue)

    async def _run(self, queue: asyncio.Queue[Event]) -> AsyncIterator[bytes]:
        try:
            while True:
                yield _message("status", self._status())
                end_s = asyncio.get_running_loop().time() + 1.0
                while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
                    try:
                        event = await asyncio.wait_for(queue.get(), left_s)
                    except TimeoutError:
                        break
                    yield _message("recognition", asdict(event))
        finally:
            self._queues.discard(queue)


def _message(kind: str, data: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


class LiveView:
    """The camera's picture as Motion JPEG; encoded once however many watch, and only then."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._watchers = 0
        self._made: tuple[int, bytes] | None = None
        self._lock = asyncio.Lock()

    def watch(self) -> AsyncIterator[bytes]:
        """The stream of one client; raises `FullError`."""
        if self._watchers >= WATCHERS:
            raise FullError
        self._watchers += 1
        return self._run()

    async def _run(self) -> AsyncIterator[bytes]:
        shown = None
        try:
            while True:
                latest = self._service.latest
                if latest is not None and latest.frame is not shown:
                    shown = latest.frame
                    data = await self._picture()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                    yield head.encode() + b"\r\n\r\n" + data + b"\r\n"
                await asyncio.sleep(PICTURE_S)
        finally:
            self._watchers -= 1

    async def _picture(self) -> bytes:
        async with self._lock:
            latest = self._service.latest
            assert latest is not None
            key = id(latest.frame)
            if self._made is None or self._made[0] != key:
                image = latest.frame.image
                self._made = (key, await asyncio.to_thread(jpeg, image, PICTURE_SIDE))
            return self._made[1]
