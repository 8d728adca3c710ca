"""Photos that arrive together, within a limit of memory."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request

from edge_runtime.settings.schema import HttpSettings
from edge_runtime.web import photos
from edge_runtime.web.photos import UploadError, Uploads
from tests.support.web import encoded

LARGE = encoded(np.zeros((364, 364, 3), np.uint8), ".bmp")  # 0.4 MB
SMALL = encoded(np.zeros((180, 180, 3), np.uint8), ".bmp")  # 0.1 MB


class _Sender:
    """Sends a body in parts, when told to."""

    def __init__(self, client: str) -> None:
        self._parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-type", b"image/bmp")],
            "state": {"client": client},
        }
        self.request = Request(scope, self._parts.get)

    async def send(self, body: bytes, *, more: bool = True) -> None:
        self._parts.put_nowait({"type": "http.request", "body": body, "more_body": more})
        for _ in range(5):  # until it is read
            await asyncio.sleep(0)


async def _receive(uploads: Uploads, sender: _Sender, done: asyncio.Event) -> int | str:
    try:
        async with uploads.receive(sender.request) as data:
            await done.wait()
            return len(data)
    except UploadError as error:
        return f"{error.status} {error.what}"


def test_the_oldest_of_the_largest_client_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "TOTAL_MB", 1.0)

    async def talk() -> list[int | str]:
        uploads, done = Uploads(HttpSettings(max_upload_mb=0.5)), asyncio.Event()
        senders = [_Sender(client) for client in ("a", "b", "b", "c")]
        tasks = [asyncio.create_task(_receive(uploads, each, done)) for each in senders]
        for sender in senders[:3]:  # 0.8 MB of "b", 0.1 MB of "a"
            await sender.send(SMALL if sender is senders[0] else LARGE)
        await senders[3].send(LARGE, more=False)  # does not fit
        assert await tasks[1] == "503 too many photos at once"
        for sender in (senders[0], senders[2]):
            await sender.send(b"", more=False)
        done.set()
        return list(await asyncio.gather(*tasks))

    results = asyncio.run(talk())
    assert [type(result) for result in results] == [int, str, int, int]


def test_photos_that_are_being_recognized_do_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "TOTAL_MB", 1.0)

    async def talk() -> list[int | str]:
        uploads, done = Uploads(HttpSettings(max_upload_mb=0.5)), asyncio.Event()
        senders = [_Sender("a") for _ in range(3)]
        tasks = [asyncio.create_task(_receive(uploads, each, done)) for each in senders]
        for sender in senders:
            await sender.send(LARGE, more=False)
        done.set()
        return list(await asyncio.gather(*tasks))

    assert asyncio.run(talk())[2] == "503 too many photos at once"
