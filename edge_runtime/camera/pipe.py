"""Raspberry Pi cameras on the CSI connector, through the `rpicam-vid` program and a pipe.

libcamera's Python binding is tied to one Python and one numpy; a pipe of raw pictures is not. A
picture is I420: the luma rows, then both chroma planes at half size. The camera's hardware pads
luma rows to a multiple of 64 bytes (chroma rows to 32), and the padding comes through the pipe.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections import deque
from typing import IO

import cv2
import numpy as np

from edge_runtime.camera.base import CameraOptions, Shot, Source
from edge_runtime.errors import CameraLostError, CameraNotFoundError
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture

PROGRAMS = ("rpicam-vid", "libcamera-vid")
"""The second is its name on older systems."""
ALIGNMENT = 64
"""Bytes to a multiple of which luma rows are padded."""


def padded(width: int) -> int:
    """Bytes from one luma row to the next."""
    return -(-width // ALIGNMENT) * ALIGNMENT


def picture(data: bytes | bytearray, width: int, height: int) -> Image:
    """A padded I420 picture as uint8 `height` x `width` x 3 BGR."""
    row = padded(width)
    planes = np.frombuffer(data, np.uint8).reshape(height * 3 // 2, row)
    # Half of a padded row is exactly a padded chroma row, so it is a wider picture in itself.
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
        self._bytes = padded(width) * self._size[1] * 3 // 2
        self._child: subprocess.Popen[bytes] | None = None
        self._words: deque[str] = deque(maxlen=5)

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
        assert self._child.stderr is not None
        listener = threading.Thread(
            target=self._listen, args=(self._child.stderr,), name="rpicam-vid", daemon=True
        )
        listener.start()

    def next(self) -> Shot | None:
        """See `Source.next`."""
        data = self._read()
        if data is None:
            return None
        return Shot(Picture(picture(data, *self._size)), time.monotonic())

    def skip(self) -> bool:
        """See `Source.skip`."""
        return self._read() is not None

    def close(self) -> None:
        """See `Source.close`."""
        if self._child is not None:
            self.interrupt()
            self._child.wait()
            assert self._child.stdout is not None
            self._child.stdout.close()

    def interrupt(self) -> None:
        """See `Source.interrupt`: without the program, the pipe ends."""
        child = self._child
        if child is not None and child.poll() is None:
            child.kill()

    def _read(self) -> bytearray | None:
        assert self._child is not None
        assert self._child.stdout is not None
        data = bytearray(self._bytes)
        view, got = memoryview(data), 0
        while got < self._bytes:
            count = self._child.stdout.readinto1(view[got:])  # type: ignore[attr-defined]
            if not count:
                self._check_end()
                return None
            got += count
        return data

    def _check_end(self) -> None:
        """Raises what the program complained of, if it did; being killed is no complaint."""
        assert self._child is not None
        code = self._child.wait()
        if code > 0:
            raise CameraLostError(
                " ".join(self._words) or f"rpicam-vid ended with code {code}",
                where=self.name,
                remedy="rpicam-hello --list-cameras lists the cameras that are there",
            )

    def _listen(self, stream: IO[bytes]) -> None:
        """Keep the last of what it says, and never let it wait for us."""
        with stream:
            for line in stream:
                self._words.append(line.decode(errors="replace").strip())
