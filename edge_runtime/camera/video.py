"""Everything that OpenCV's VideoCapture opens: V4L2 devices, video files, network streams."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.camera.base import Shot, Source
from edge_runtime.errors import CameraNotFoundError

OPEN_TIMEOUT_MS = 8000
READ_TIMEOUT_MS = 5000


class _OpenCVSource(Source):
    """What the three kinds share: grab, note the time, decode."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._capture: cv2.VideoCapture | None = None

    def next(self) -> Shot | None:
        """See `Source.next`."""
        assert self._capture is not None
        if not self._capture.grab():
            return None
        captured_at_s = time.monotonic()
        decoded, image = self._capture.retrieve()
        return Shot(np.asarray(image, dtype=np.uint8), captured_at_s) if decoded else None

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _adopt(self, capture: cv2.VideoCapture, fault: str, remedy: str) -> None:
        if not capture.isOpened():
            raise CameraNotFoundError(fault, where=self.name, remedy=remedy)
        self._capture = capture


class DeviceSource(_OpenCVSource):
    """A V4L2 camera by index ("0") or path ("/dev/v4l/by-id/..."), asked for Motion JPEG.

    Uncompressed video saturates a USB 2 bus at 640 x 480 and 30 frames a second; MJPG does not. A
    camera without it keeps its own format.
    """

    live = True

    def __init__(self, device: str) -> None:
        super().__init__(f"/dev/video{device}" if device.isdecimal() else device)

    def open(self) -> None:
        """See `Source.open`."""
        path = Path(self.name)
        if not path.exists():
            raise CameraNotFoundError(
                "no such camera device",
                where=self.name,
                remedy="plug it in; ls /dev/v4l/by-id lists the cameras that are there",
            )
        if not os.access(path, os.R_OK | os.W_OK):
            raise CameraNotFoundError(
                "permission denied",
                where=self.name,
                remedy="add yourself to the group video: sudo usermod -aG video $USER, log in anew",
            )
        device = str(path.resolve())  # by-id links move when a camera comes back elsewhere
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        self._adopt(capture, "it is no camera that V4L2 can read", "see v4l2-ctl --list-devices")
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue in the driver is latency


class StreamSource(_OpenCVSource):
    """A camera on the network: http (Motion JPEG) or rtsp."""

    live = True

    def open(self) -> None:
        """See `Source.open`."""
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS),
        ]
        self._adopt(
            cv2.VideoCapture(self.name, cv2.CAP_FFMPEG, limits),
            "nothing there that can be read as video",
            "check the address, the user and password in it, and the network",
        )


class FileSource(_OpenCVSource):
    """A video file, every frame of it, as fast as the path takes them."""

    live = False

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))

    def open(self) -> None:
        """See `Source.open`."""
        self._adopt(
            cv2.VideoCapture(self.name, cv2.CAP_FFMPEG),
            "not a video file, or damaged",
            "check that it plays elsewhere; copy it again",
        )
