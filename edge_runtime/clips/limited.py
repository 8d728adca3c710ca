"""Read a clip in a child process with hard limits on memory and time: what both sides agree on.

What a video file takes does not follow from its header, and its decoders are many. A daemon
therefore does not read files of others itself. The child sends small squares, as the network needs
them, so a frame of 9 megapixels never reaches the daemon. It is ended as soon as the answer is
sure.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image

MEMORY = 256 << 20
"""Bytes that the child may take beyond those it has before it opens the clip. A decoder of H.264 or
HEVC keeps up to 17 frames of 4096 x 2304, 14 MB each."""
CPU_S = 60
"""CPU time of the child, seconds."""
WALL_S = 120.0
"""Time of a clip on a busy machine, seconds."""
MOST_S = 60.0
"""Longest clip, seconds."""
HEAD = struct.Struct("<cI")
"""Before each message: its kind, one of those below, and the number of bytes that follow."""
FRAME, SOUND, FAULT, END = b"F", b"S", b"X", b"E"
PLACE = struct.Struct("<d")
"""At the start of a frame: seconds from the beginning of the clip. The square follows."""
NOTE = struct.Struct("<I")
"""At the start of a sound: 0 if there is none, else 1. Fingerprints or a note follow."""
MOST_BYTES = 1 << 20
"""Largest size of a message."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Request:
    """What the child reads."""

    path: str
    side: int
    """Pixels of the side of a square."""
    sound: bool
    """Whether the sound is wanted, too."""
    most_frames: int
    every_s: float


def command(request: Request) -> Sequence[str]:
    """Return the command of the child. It writes messages to its standard output."""
    # By path, so that the child runs the same code as this process wherever that lies.
    start = (
        f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
        "from edge_runtime.clips.limited_child import main; main(sys.argv[1])"
    )
    return (sys.executable, "-c", start, json.dumps(asdict(request)))


def square_of(data: bytes, side: int) -> tuple[float, Image]:
    """Return the seconds and the square, uint8 [side, side, 3], of a frame's message.

    Raises ValueError if it is malformed.
    """
    pixels = np.frombuffer(data, np.uint8, offset=PLACE.size).reshape(side, side, 3)
    return PLACE.unpack_from(data)[0], pixels


def fault_of(data: bytes) -> PhotoError:
    """Return the error of a fault's message; raises ValueError if it is malformed."""
    what, remedy = map(str, json.loads(data))
    return PhotoError(what, where="clip", remedy=remedy)


def ended(code: int) -> PhotoError:
    """Return the error of a child that ended with `code`, negative for a signal, before its end."""
    if code == -signal.SIGXCPU:
        return too_slow(f"more than {CPU_S} s of CPU time")
    return PhotoError(
        "it cannot be decoded",
        where="clip",
        remedy="make it smaller: ffmpeg -i OLD -vf scale=1280:-2 NEW.mp4",
    )


def too_slow(what: str) -> PhotoError:
    """Return the error of a clip that takes `what` to decode."""
    return PhotoError(
        f"it takes {what} to decode",
        where="clip",
        remedy="make it smaller: ffmpeg -i OLD -vf scale=1280:-2 NEW.mp4",
    )
