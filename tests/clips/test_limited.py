"""The child process that reads clips for a daemon: what it sends, and what if it ends or hangs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.clips.frames import ClipOptions, samples
from edge_runtime.clips.limited import END, FAULT, FRAME, HEAD, Request, command, square_of
from edge_runtime.errors import PhotoError
from edge_runtime.image.preprocess import preprocess
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.web.clips import query
from edge_runtime.web.clips.query import ClipQueries
from tests.support.processes import patience


class _Gallery:
    """A gallery without sounds, for a child that sends no frame."""

    async def recognize(self, question: Callable[[Pipeline], Any]) -> Any:
        return False


def _messages(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    while data:
        kind, length = HEAD.unpack_from(data)
        found.append((kind, data[HEAD.size : HEAD.size + length]))
        data = data[HEAD.size + length :]
    return found


def _run(request: Request) -> list[tuple[bytes, bytes]]:
    done = subprocess.run(list(command(request)), capture_output=True, check=True)
    assert done.stderr == b""
    return _messages(done.stdout)


def test_it_sends_the_squares_of_the_frames(films: Path) -> None:
    path = films / "coffee.mp4"
    *frames, (last, _) = _run(Request(str(path), 224, sound=False, most_frames=3, every_s=0.5))
    assert (last, [kind for kind, _ in frames]) == (END, [FRAME] * 3)
    with samples(path, ClipOptions(3, 0.5, one_thread=True)) as taken:
        for (_, data), sample in zip(frames, taken, strict=True):
            seconds, square = square_of(data, 224)
            assert seconds == sample.seconds
            assert np.array_equal(square, preprocess(sample.frame.image, 224))


def test_a_fault_has_no_path(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(b"RIFF\0\0\0\0AVI " + bytes(500))
    ((kind, data),) = _run(Request(str(tmp_path / "clip"), 224, False, 3, 0.5))
    assert kind == FAULT
    assert str(tmp_path) not in data.decode()
    assert json.loads(data)[0].startswith("not a video file, damaged")


@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("import os; os.kill(os.getpid(), 11)", "it cannot be decoded"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "more than 60 s of CPU time"),
        ("import os; os.write(1, b'F' + b'\\xff' * 99)", "it cannot be decoded"),
        ("print('x' * 200000)", "it cannot be decoded"),
        ("import time; time.sleep(999)", "it takes more than"),
    ],
)
def test_a_child_that_fails_is_one_line(
    program: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "command", lambda _: (sys.executable, "-c", program))
    monkeypatch.setattr(query, "WALL_S", 2.0 * patience() if "sleep" not in program else 0.5)
    queries = ClipQueries(_Gallery(), 224)  # type: ignore[arg-type]
    with pytest.raises(PhotoError, match=what):
        asyncio.run(queries.query(tmp_path / "clip"))
