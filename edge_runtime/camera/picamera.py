"""Raspberry Pi cameras on the CSI connector, through picamera2 if it is installed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from edge_runtime.camera.base import CameraOptions, Shot, Source
from edge_runtime.errors import CameraNotFoundError
from edge_runtime.image.lazy_jpeg import Picture


class Picamera2Source(Source):
    """A CSI camera by number. Its calls may block forever, so use it only with a `Capture`."""

    live = True

    def __init__(self, camera: int, options: CameraOptions | None = None) -> None:
        self.name = f"picamera2:{camera}"
        self._number = camera
        self._options = options or CameraOptions()
        self._camera: Any = None

    def clone(self) -> Picamera2Source:
        """See `Source.clone`."""
        return Picamera2Source(self._number, self._options)

    def open(self) -> None:
        """See `Source.open`."""
        try:
            from picamera2 import Picamera2  # from the system, not from a package index
        except ImportError as error:
            raise CameraNotFoundError(
                f"cannot import picamera2: {error}",
                where=self.name,
                remedy="use the camera rpicam, which needs no Python package",
            ) from error
        try:
            self._camera = Picamera2(self._number)
        except (IndexError, RuntimeError) as error:
            raise CameraNotFoundError(
                f"no such camera, or another program uses it: {error}",
                where=self.name,
                remedy="list the cameras with: rpicam-hello --list-cameras",
            ) from error
        size = (self._options.width, self._options.height)
        # libcamera's RGB888 has blue first in memory, as OpenCV expects.
        format_ = {"size": size, "format": "RGB888"}
        controls = {"FrameRate": self._options.fps}
        self._camera.configure(
            self._camera.create_video_configuration(main=format_, controls=controls, buffer_count=2)
        )
        self._camera.start()

    def next(self) -> Shot | None:
        """See `Source.next`."""
        image = self._camera.capture_array("main")
        return Shot(Picture(np.asarray(image, dtype=np.uint8)), time.monotonic())

    def close(self) -> None:
        """See `Source.close`."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
