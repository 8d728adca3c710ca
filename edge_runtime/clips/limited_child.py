"""The child process of `limited`: sends the frames of a clip, and the fingerprints of its sound."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

import cv2

from edge_runtime.clips.frames import ClipOptions, samples
from edge_runtime.clips.limited import (
    CPU_S,
    END,
    FAULT,
    FRAME,
    HEAD,
    MEMORY,
    MOST_S,
    NOTE,
    PLACE,
    SOUND,
    Request,
)
from edge_runtime.clips.sound import listen
from edge_runtime.errors import PhotoError
from edge_runtime.image.preprocess import preprocess
from edge_runtime.system.limits import limit_cpu, limit_memory

_NICE = 5
"""The daemon's cameras go before a clip."""


def main(text: str) -> None:
    """Read the clip of the request `text`, JSON, and write messages to standard output."""
    request = Request(**json.loads(text))
    cv2.setNumThreads(1)
    os.nice(_NICE)
    Path("/proc/self/oom_score_adj").write_text("1000")  # it goes before the daemon
    limit_memory(MEMORY)
    limit_cpu(CPU_S)
    out = sys.stdout.buffer
    try:
        if request.sound:
            heard, note = listen(Path(request.path), alone=True)
            content = note.encode() if heard is None else heard.astype("<u4").tobytes()
            _send(out, SOUND, NOTE.pack(heard is not None), content)
        options = ClipOptions(request.most_frames, request.every_s, MOST_S, one_thread=True)
        with samples(Path(request.path), options) as taken:
            for sample in taken:
                square = preprocess(sample.frame.image, request.side)
                _send(out, FRAME, PLACE.pack(sample.seconds), square.tobytes())
        _send(out, END)
    except PhotoError as error:
        _send(out, FAULT, json.dumps([error.what, error.remedy]).encode())
    except BrokenPipeError:  # the answer is sure
        pass
    os._exit(0)  # a source that hangs in its decoder must not keep the process


def _send(out: BinaryIO, kind: bytes, *parts: bytes) -> None:
    out.write(HEAD.pack(kind, sum(map(len, parts))))
    for part in parts:
        out.write(part)
    out.flush()
