"""One picture of a camera that is not in use, to choose it by."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from edge_runtime.camera import CameraOptions, Capture, Source, parse_source
from edge_runtime.camera.video import DeviceSource
from edge_runtime.errors import BusyError, CameraSilentError, InputError
from edge_runtime.image.pixels import jpeg
from edge_runtime.settings.editable import is_local_camera

FIRST_FRAME_S = 6.0
FURTHER_FRAMES = 4
"""Frames that are skipped, because the first ones of many cameras are dark."""
SIDE = 480
"""Longer side of the picture, pixels."""


class CameraPreview:
    """Opens one camera at a time. Its methods may block; call them on any thread."""

    def __init__(self, in_use: Callable[[], dict[str, str]]) -> None:
        """`in_use` returns the names of the daemon's cameras by source."""
        self._in_use = in_use
        self._lock = threading.Lock()
        self._last: Capture | None = None

    def user_of(self, source: str) -> str | None:
        """Return the name of the daemon's camera that uses `source`; None if it is free."""
        wanted = _identity(source)
        return next(
            (name for used, name in self._in_use().items() if _identity(used) == wanted), None
        )

    def picture(self, text: str) -> bytes:
        """Return a JPEG from the camera `text` within about `FIRST_FRAME_S`.

        Only cameras of this board can be asked for: an address would let a client read what the
        board can reach. Raises `EdgeRuntimeError`.
        """
        if not is_local_camera(text) or text.startswith("picamera2"):
            raise InputError(
                "only a camera of this board has a preview",
                remedy="save the address, and look at the live view",
            )
        if name := self.user_of(text):
            raise InputError(f"the daemon uses it as {name}", remedy="look at the live view")
        source = parse_source(text, CameraOptions())
        if not self._lock.acquire(blocking=False):
            raise BusyError("another preview is under way", remedy="try again in a few seconds")
        try:
            if self._last is not None and self._last.is_hung:
                raise BusyError("the last camera still hangs in its driver")
            return self._read(source)
        finally:
            self._lock.release()

    def _read(self, source: Source) -> bytes:
        self._last = capture = Capture(source, first_frame_s=FIRST_FRAME_S, next_frame_s=1.0)
        try:
            frame = capture.poll(FIRST_FRAME_S)
            for _ in range(FURTHER_FRAMES if frame else 0):
                frame = capture.poll(0.5) or frame
            if frame is None:
                raise CameraSilentError("it delivered no picture", where=source.name)
            return jpeg(frame.image, SIDE)
        finally:
            capture.close()


def _identity(source: str) -> str:
    """Return the same text for all names of one camera."""
    if source.isdecimal() or source.startswith("/dev/"):
        return str(Path(DeviceSource(source).name).resolve())
    return source.replace("picamera2", "rpicam").removesuffix(":0")
