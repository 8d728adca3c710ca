"""Streams of events and of camera frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_runtime.image.pixels import jpeg
from edge_runtime.types import Event, Frame

if TYPE_CHECKING:
    from edge_runtime.daemon.service import Service

MAX_STREAMS = 8
"""Limit of simultaneous streams of each kind."""
FRAME_INTERVAL_S = 0.2
"""Seconds between two frames of the live view."""
FRAME_SIDE = 640
"""Longer side of a frame in the live view, in pixels."""
BOUNDARY = b"frame"


class TooManyStreamsError(Exception):
    """The limit of simultaneous streams is reached."""


class EventStream:
    """Server-sent events: each recognition event, and the status once per second."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status
        self._queues: set[asyncio.Queue[Event]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def clear(self) -> None:
        """Forget all clients."""
        self._queues.clear()
        self._loop = None

    def listen(self, event: Event) -> None:
        """Send an event to all clients. Called on the daemon's thread."""
        loop = self._loop
        if loop is not None and self._queues and not loop.is_closed():
            loop.call_soon_threadsafe(self._send, event)

    def _send(self, event: Event) -> None:
        for queue in list(self._queues):
            if not queue.full():  # a client that does not read loses events
                queue.put_nowait(event)

    def watch(self) -> AsyncIterator[bytes]:
        """Return the stream of one client; raises `TooManyStreamsError`."""
        if len(self._queues) >= MAX_STREAMS:
            raise TooManyStreamsError
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


def _encoded(frame: Frame) -> bytes:
    return jpeg(frame.image, FRAME_SIDE)


class LiveView:
    """Camera frames as Motion JPEG. A frame is encoded once for all clients, and only if needed."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._clients = 0
        self._encoded: dict[str, tuple[Frame, bytes]] = {}
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live")
        self._thread.submit(int)  # starts the thread now, while it can be

    def clear(self) -> None:
        """Forget all clients."""
        self._clients = 0
        self._encoded = {}
        self._lock = asyncio.Lock()  # the old one belongs to its event loop

    def close(self) -> None:
        """End the thread that encodes frames."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def watch(self, camera: str) -> AsyncIterator[bytes]:
        """Return the stream of one client; raises `TooManyStreamsError`.

        `camera`: its name; empty means the first. A camera that goes away ends no stream.
        """
        if self._clients >= MAX_STREAMS:
            raise TooManyStreamsError
        self._clients += 1
        return self._run(camera)

    async def frame(self, camera: str) -> bytes | None:
        """Return the newest frame as a JPEG; None if there is none."""
        frame = self._newest(camera)
        return None if frame is None else await self._encode(camera, frame)

    async def _run(self, camera: str) -> AsyncIterator[bytes]:
        shown = None
        try:
            while True:
                frame = self._newest(camera)
                if frame is not None and frame is not shown:
                    shown = frame
                    data = await self._encode(camera, frame)
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                    yield head.encode() + b"\r\n\r\n" + data + b"\r\n"
                await asyncio.sleep(FRAME_INTERVAL_S)
        finally:
            self._clients -= 1

    def _newest(self, camera: str) -> Frame | None:
        region = self._service.region(camera)
        return region.latest.frame if region is not None and region.latest is not None else None

    async def _encode(self, camera: str, frame: Frame) -> bytes:
        async with self._lock:
            before = self._encoded.get(camera)
            if before is None or before[0] is not frame:
                data = frame.picture.as_sent(FRAME_SIDE)
                if data is None:
                    loop = asyncio.get_running_loop()
                    data = await loop.run_in_executor(self._thread, _encoded, frame)
                before = self._encoded[camera] = (frame, data)
            return before[1]
