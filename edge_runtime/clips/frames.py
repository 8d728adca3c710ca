"""Read sampled frames of a video file, in bounded memory and time."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from edge_runtime.camera.base import Shot, Source
from edge_runtime.camera.capture import Capture
from edge_runtime.camera.video import FileSource
from edge_runtime.errors import CameraError, CameraNotFoundError, InputError, PhotoError
from edge_runtime.shortage import shortage
from edge_runtime.types import Frame

MOST_FRAME_PIXELS = 9_500_000
"""Pixels of a frame: 4096 x 2304. A decoder keeps a dozen frames."""
USUAL_RATE = 25.0
"""Frames per second of a file that does not state a possible rate."""


@dataclass(frozen=True)
class ClipOptions:
    """Which frames of a clip are used; raises `InputError` for a value out of range."""

    most_frames: int = 30
    """Frames that are hashed at most."""
    every_s: float = 0.5
    """Seconds of the clip from one of them to the next; 0 uses every frame."""
    most_seconds: float = math.inf
    """A clip that states to be longer is refused."""
    one_thread: bool = False
    """Decode on one thread, which takes less memory."""

    def __post_init__(self) -> None:
        if not 1 <= self.most_frames <= 1000:
            raise InputError(f"most_frames must be between 1 and 1000, got {self.most_frames}")
        if not 0 <= self.every_s <= 3600:
            raise InputError(f"every_s must be between 0 and 3600 seconds, got {self.every_s:g}")


USUAL = ClipOptions()


class SampledSource(Source):
    """Every nth frame of a video file; the frames between are not converted to pictures."""

    live = False

    def __init__(self, path: Path, options: ClipOptions) -> None:
        self.name = str(path)
        self.step = 1
        """Frames of the file from one sample to the next."""
        self.rate = USUAL_RATE
        """Frames per second of the file."""
        self._file = FileSource(path, one_thread=options.one_thread)
        self._options = options
        self._begun = False

    def open(self) -> None:
        """See `Source.open`; refuses frames that are too large, and a clip that is too long."""
        self._file.open()
        width, height, rate, count = self._file.properties()
        if width * height > MOST_FRAME_PIXELS:
            raise CameraNotFoundError(
                f"its frames are too large: {width} x {height} pixels",
                where=self.name,
                remedy="make it smaller: ffmpeg -i OLD -vf scale=1280:-2 NEW.mp4",
            )
        self.rate = rate if 0.1 <= rate <= 1000 else USUAL_RATE
        self.step = max(round(self.rate * self._options.every_s), 1)
        if count / self.rate > self._options.most_seconds:
            raise CameraNotFoundError(
                f"it is too long: {count / self.rate:.0f} s, "
                f"at most {self._options.most_seconds:g} s are accepted",
                where=self.name,
                remedy="cut it: ffmpeg -i OLD -t 30 NEW.mp4",
            )

    def next(self) -> Shot | None:
        """See `Source.next`."""
        if self._begun and not all(self._file.skip() for _ in range(self.step - 1)):
            return None
        self._begun = True
        return self._file.next()

    def close(self) -> None:
        """See `Source.close`."""
        self._file.close()


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame of a clip."""

    frame: Frame
    number: int
    """Number of the frame in the file, from 0."""
    seconds: float
    """From the beginning of the clip."""


@contextmanager
def samples(path: Path, options: ClipOptions) -> Iterator[Iterator[Sample]]:
    """Yield an iterator of the sampled frames of the clip at `path`; raises `PhotoError`.

    It ends after `options.most_frames`. A damaged frame is passed over.
    """
    check_file(path)
    source = SampledSource(path, options)
    with translated(path), Capture(source) as capture:
        yield _numbered(capture, source, options.most_frames)


def _numbered(capture: Capture, source: SampledSource, most: int) -> Iterator[Sample]:
    for frame in islice(capture, most):
        place = (frame.sequence + capture.damaged) * source.step
        yield Sample(frame, place, place / source.rate)


def check_file(path: Path) -> None:
    """Raise `PhotoError` if `path` cannot be a clip: missing, not a file, or empty."""
    try:
        status = path.stat()
    except OSError as error:
        raise PhotoError((error.strerror or str(error)).lower(), where=path) from error
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError(
            "not a regular file", where=path, remedy="watch a camera with: edge-runtime run"
        )
    if not status.st_size:
        raise PhotoError("the file is empty", where=path, remedy="copy it again")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what a source reports about the file at `path` as a `PhotoError`.

    If the system's limits are the cause, it is a `ResourceError`.
    """
    try:
        yield
    except CameraError as error:
        if fault := shortage(error, path):
            raise fault from error
        what = error.what
        if what == "not a video file, or damaged":
            what = "not a video file, damaged, or without pictures"
        raise PhotoError(what, where=path, remedy=error.remedy) from error
