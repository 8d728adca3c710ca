"""Recognize a received clip: its frames come from a child process, one at a time, until it is sure.

The daemon's engine hashes them between two frames of its cameras, as photos of the API. Neither the
gallery's thread nor a camera waits for the child.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.clips.frames import USUAL
from edge_runtime.clips.limited import (
    END,
    FAULT,
    FRAME,
    HEAD,
    MOST_BYTES,
    NOTE,
    SOUND,
    WALL_S,
    Request,
    command,
    ended,
    fault_of,
    square_of,
    too_slow,
)
from edge_runtime.clips.query import ClipFusion
from edge_runtime.clips.sound import compare
from edge_runtime.errors import BusyError, ResourceError
from edge_runtime.image import Image
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.shortage import shortage
from edge_runtime.system.stage_timer import StageTimer
from edge_runtime.web.gallery_service import GalleryService

WAIT_S = 60.0
"""How long a clip waits for the one before it."""


class ClipQueries:
    """Recognizes one clip at a time."""

    def __init__(self, gallery: GalleryService, side: int) -> None:
        """`side` is the side of the network's input, pixels."""
        self._gallery = gallery
        self._side = side
        self._turn = asyncio.Lock()

    def begin(self) -> None:
        """Forget the clips of an earlier event loop."""
        self._turn = asyncio.Lock()

    async def query(self, path: Path) -> dict[str, Any]:
        """Return the answer to the clip at `path`, as `ClipResult.details`.

        Raises `PhotoError`, `BusyError` or `ResourceError`.
        """
        try:
            await asyncio.wait_for(self._turn.acquire(), WAIT_S)
        except TimeoutError:
            raise BusyError("another clip takes long", remedy="try again in a minute") from None
        try:
            async with asyncio.timeout(WALL_S):
                return await self._recognize(path)
        except TimeoutError:
            raise too_slow(f"more than {WALL_S:g} s") from None
        finally:
            self._turn.release()

    async def _recognize(self, path: Path) -> dict[str, Any]:
        timer, spent = StageTimer(), dict[str, float]()
        answer = _Answer()
        with_sound = await self._gallery.recognize(lambda pipeline: bool(pipeline.gallery.sounds()))
        request = Request(str(path), self._side, with_sound, USUAL.most_frames, USUAL.every_s)
        child = await _start(request)
        try:
            async for kind, data in _messages(child):
                stage = "sound" if kind == SOUND else "decode"
                timer.mark(stage)
                spent[stage] = spent.get(stage, 0.0) + timer.stage_ms[stage]
                if await self._take(answer, kind, data):
                    break
                timer = StageTimer()
        finally:
            await _end(child)
        return await self._gallery.recognize(lambda pipeline: answer.details(pipeline, spent))

    async def _take(self, answer: _Answer, kind: bytes, data: bytes) -> bool:
        """Add a message of the child to `answer`; return whether no more is needed."""
        if kind == END:
            return True
        if kind == FAULT:
            raise fault_of(data)
        if kind == SOUND:
            await self._gallery.recognize(lambda pipeline: answer.hear(pipeline, data))
            return False
        seconds, square = square_of(data, self._side)
        return await self._gallery.recognize(lambda pipeline: answer.see(pipeline, square, seconds))


class _Answer:
    """What is known so far. Its methods run on the gallery's thread."""

    def __init__(self) -> None:
        self._fusion: ClipFusion | None = None

    def hear(self, pipeline: Pipeline, data: bytes) -> None:
        """Add the sound."""
        (has_sound,) = NOTE.unpack_from(data)
        content = data[NOTE.size :]
        heard = np.frombuffer(content, "<u4") if has_sound else None
        note = "" if has_sound else content.decode()
        self._fusion = ClipFusion(pipeline, sound=compare(pipeline.gallery, heard, note))

    def see(self, pipeline: Pipeline, square: Image, seconds: float) -> bool:
        """Add a frame; return whether the answer is sure."""
        fusion = self._of(pipeline)
        fusion.add(pipeline.look(square), seconds)
        return fusion.is_sure

    def details(self, pipeline: Pipeline, spent: dict[str, float]) -> dict[str, Any]:
        """Return the answer; `spent` are milliseconds of further stages."""
        fusion = self._of(pipeline)
        fusion.stage_ms = {**spent, **fusion.stage_ms}
        return fusion.result().details(pipeline.gallery, pipeline.neighbors)

    def _of(self, pipeline: Pipeline) -> ClipFusion:
        fusion = self._fusion
        if fusion is None:
            fusion = self._fusion = ClipFusion(pipeline)
        if fusion.gallery is not pipeline.gallery:
            raise BusyError("the gallery was replaced", remedy="send the clip again")
        return fusion


async def _start(request: Request) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command(request), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
    except (OSError, RuntimeError) as error:
        raise ResourceError(
            f"cannot start a process to decode a clip: {shortage(error) or error}",
            remedy="close other programs, or raise the limits of processes and open files",
        ) from error


async def _messages(child: Process) -> AsyncIterator[tuple[bytes, bytes]]:
    """Yield the kind and content of each message; raises `PhotoError` if the child ends early."""
    assert child.stdout is not None
    while True:
        try:
            kind, length = HEAD.unpack(await child.stdout.readexactly(HEAD.size))
            if length > MOST_BYTES or kind not in (FRAME, SOUND, FAULT, END):
                raise ended(0)
            yield kind, await child.stdout.readexactly(length)
        except asyncio.IncompleteReadError:
            raise ended(await child.wait()) from None


async def _end(child: Process) -> None:
    with suppress(ProcessLookupError):
        child.kill()
    await child.communicate()  # its end is noticed only once the pipe is empty
