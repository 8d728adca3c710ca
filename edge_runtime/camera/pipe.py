"""Raspberry Pi cameras on the CSI connector, through the `rpicam-vid` program and a pipe.

libcamera's Python binding works with only one version of Python and numpy; a pipe of raw pictures
has no such limit. A picture has the format I420: the luma rows, then both chroma planes at half
size. The hardware pads luma rows to a multiple of 64 bytes and chroma rows to 32, and the pipe
contains the padding.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from typing import IO

import cv2
import numpy as np

from edge_runtime.camera.base import CameraOptions, Shot, Source
from edge_runtime.errors import CameraLostError, CameraNotFoundError
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture

PROGRAMS = ("rpicam-vid", "libcamera-vid")
"""The second is the name on older systems."""
MOST_PIPE_BYTES = 1 << 20
"""The largest pipe that Linux gives to every user."""
ALIGNMENT = 64
"""Luma rows are padded to a multiple of this many bytes."""


def padded_row_bytes(width: int) -> int:
    """Return the padded length of a luma row in bytes."""
    return -(-width // ALIGNMENT) * ALIGNMENT


def decode_i420(data: bytes | bytearray, width: int, height: int) -> Image:
    """Convert a padded I420 picture to uint8 `height` x `width` x 3 BGR."""
    row = padded_row_bytes(width)
    planes = np.frombuffer(data, np.uint8).reshape(height * 3 // 2, row)
    # A padded chroma row is exactly half a padded luma row, so this is a valid wider picture.
    image = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)
    return np.ascontiguousarray(image[:, :width], dtype=np.uint8)


class RpicamSource(Source):
    """A CSI camera by number, read from `rpicam-vid`."""

    live = True

    def __init__(self, camera: int, options: CameraOptions | None = None) -> None:
        self.name = f"rpicam:{camera}"
        self._camera = camera
        self._options = options or CameraOptions()
        width, height = self._options.width, self._options.height
        self._size = (width - width % 2, height - height % 2)
        self._bytes = padded_row_bytes(width) * self._size[1] * 3 // 2
        self._buffer = bytearray()
        """The raw picture; the next one replaces it."""
        self._child: subprocess.Popen[bytes] | None = None
        self._messages: deque[str] = deque(maxlen=5)

    def clone(self) -> RpicamSource:
        """See `Source.clone`."""
        return RpicamSource(self._camera, self._options)

    def open(self) -> None:
        """See `Source.open`."""
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            raise CameraNotFoundError(
                "the program rpicam-vid is not installed",
                where=self.name,
                remedy="sudo apt install rpicam-apps-lite",
            )
        width, height = self._size
        command = [
            *(program, "--camera", str(self._camera), "--timeout", "0", "--nopreview"),
            *("--codec", "yuv420", "--width", str(width), "--height", str(height)),
            *("--framerate", f"{self._options.fps:g}", "--flush", "--output", "-"),
        ]
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._child.stdout is not None and self._child.stderr is not None
        self._buffer = bytearray(self._bytes)
        with suppress(OSError):  # a pipe that holds a picture is filled, and read, in one turn
            size = min(self._bytes, MOST_PIPE_BYTES)
            fcntl.fcntl(self._child.stdout, fcntl.F_SETPIPE_SZ, size)
        drain = threading.Thread(
            target=self._drain_stderr, args=(self._child.stderr,), name="rpicam-vid", daemon=True
        )
        drain.start()

    def next(self) -> Shot | None:
        """See `Source.next`."""
        if not self.skip():
            return None
        return Shot(Picture(decode_i420(self._buffer, *self._size)), time.monotonic())

    def close(self) -> None:
        """See `Source.close`."""
        if self._child is not None:
            self.interrupt()
            self._child.wait()
            assert self._child.stdout is not None
            self._child.stdout.close()

    def interrupt(self) -> None:
        """See `Source.interrupt`; killing the program ends the pipe."""
        child = self._child
        if child is not None and child.poll() is None:
            child.kill()

    def skip(self) -> bool:
        """See `Source.skip`; reads the raw picture."""
        assert self._child is not None
        assert self._child.stdout is not None
        view, received = memoryview(self._buffer), 0
        while received < self._bytes:
            count = self._child.stdout.readinto1(view[received:])  # type: ignore[attr-defined]
            if not count:
                self._check_end()
                return False
            received += count
        return True

    def _check_end(self) -> None:
        """Raise the program's error message if it failed; a killed program did not fail."""
        assert self._child is not None
        code = self._child.wait()
        if code > 0:
            raise CameraLostError(
                " ".join(self._messages) or f"rpicam-vid exited with code {code}",
                where=self.name,
                remedy="list the cameras with: rpicam-hello --list-cameras",
            )

    def _drain_stderr(self, stream: IO[bytes]) -> None:
        """Store the last lines of the program's stderr and keep that pipe empty."""
        with stream:
            for line in stream:
                self._messages.append(line.decode(errors="replace").strip())
