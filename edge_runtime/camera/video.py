"""Sources that OpenCV's VideoCapture opens: V4L2 devices, video files and network streams."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from edge_runtime.camera.base import CameraOptions, Shot, Source
from edge_runtime.camera.conversion import REFUSED, ConversionCheck
from edge_runtime.camera.interlaced import InterlacedCapture, decodable
from edge_runtime.errors import CameraNotFoundError, ResourceError
from edge_runtime.image.lazy_jpeg import JpegPicture, Picture
from edge_runtime.redaction import redact_source
from edge_runtime.shortage import check_limits

# What FFmpeg and OpenCV print about a stream may contain its address, and comes for each frame.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

OPEN_TIMEOUT_MS = 8000
READ_TIMEOUT_MS = 5000
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
BY_ID = Path("/dev/v4l/by-id")
GAP_PACKETS = 100
"""Unreadable packets in a row after which a file has ended, if it does not state its length."""


class _OpenCVSource(Source):
    """Common part of the three kinds: grab, record the time, decode."""

    _uses_ffmpeg = True

    def __init__(self, name: str, options: CameraOptions) -> None:
        self.name = name
        self._options = options
        self._capture: cv2.VideoCapture | InterlacedCapture | None = None
        self._taken = 0
        """Frames that were grabbed since the source was opened."""
        self._check: ConversionCheck | None = None
        self._encoded = False
        self._interlaced = False
        """Whether frames of the source were interlaced."""

    def next(self) -> Shot | None:
        """See `Source.next`."""
        return self._retrieve() if self._take() else None

    def _take(self) -> bool:
        """Grab the next frame; return False if there is none."""
        assert self._capture is not None
        taken = self._capture.grab()
        self._taken += taken
        return taken

    def _retrieve(self) -> Shot:
        """Decode the grabbed frame."""
        assert self._capture is not None
        captured_at_s = time.monotonic()
        decoded, data = self._capture.retrieve()
        if not decoded:
            return Shot(None, captured_at_s)
        image = np.asarray(data, dtype=np.uint8)
        if self._encoded:
            return Shot(JpegPicture(image.tobytes()), captured_at_s)
        if self._check is not None and self._check.failed(image, self._capture.retrieve):
            if not self._decode_interlaced():
                return Shot(None, captured_at_s, fault=REFUSED)
            return self._retrieve()
        return Shot(Picture(image), captured_at_s)

    def skip(self) -> bool:
        """See `Source.skip`."""
        return self._take()

    def _decode_interlaced(self) -> bool:
        """Open the source again and decode its packets, up to the frame that was grabbed last.

        Return False if that is not possible.
        """
        capture, taken = self._capture, 1 if self.live else self._taken
        if capture is None or isinstance(capture, InterlacedCapture) or not decodable(capture):
            return False
        self._interlaced = True
        self.close()
        self.open()
        return all(self._take() for _ in range(taken))

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _use_capture(self, capture: cv2.VideoCapture, fault: str, remedy: str) -> None:
        if not capture.isOpened():
            try:
                check_limits(self.name)
            except ResourceError as short:
                error = CameraNotFoundError(short.what, where=self.name, remedy=short.remedy)
                raise error from short
            raise CameraNotFoundError(fault, where=self.name, remedy=remedy)
        self._taken = 0
        if self._interlaced and decodable(capture):
            self._capture, self._check = InterlacedCapture(capture), None
        else:
            self._capture = capture
            self._check = ConversionCheck() if self._uses_ffmpeg else None

    def _request_encoded(self, key: int, value: int) -> None:
        """Receive a camera's JPEGs undecoded, so that they can be decoded on demand.

        `key` and `value` are the backend's setting for this.
        """
        if self._capture is None or isinstance(self._capture, InterlacedCapture):
            return
        jpeg = int(self._capture.get(cv2.CAP_PROP_FOURCC)) == MJPG
        self._encoded = jpeg and self._capture.set(key, value)


class DeviceSource(_OpenCVSource):
    """A V4L2 camera by index ("0") or path ("/dev/v4l/by-id/..."), set to Motion JPEG.

    Uncompressed video saturates a USB 2 bus at 640 x 480 and 30 frames per second; Motion JPEG does
    not. A camera without it uses its own format. A camera that was unplugged often returns under
    another number. If it was opened by number, its name in /dev/v4l/by-id identifies it.
    """

    live = True
    _uses_ffmpeg = False

    def __init__(
        self,
        device: str,
        options: CameraOptions | None = None,
        *,
        persistent_path: Path | None = None,
    ) -> None:
        path = f"/dev/video{device}" if device.isdecimal() else device
        super().__init__(path, options or CameraOptions())
        self._persistent_path = persistent_path

    def clone(self) -> DeviceSource:
        """See `Source.clone`."""
        return DeviceSource(self.name, self._options, persistent_path=self._persistent_path)

    def open(self) -> None:
        """See `Source.open`."""
        path = Path(self.name)
        if self._persistent_path is not None and self._persistent_path.exists():
            path = self._persistent_path
        if not path.exists():
            raise CameraNotFoundError(
                "no such camera device",
                where=self.name,
                remedy="connect it; list the cameras with: ls /dev/v4l/by-id",
            )
        if not os.access(path, os.R_OK | os.W_OK):
            raise CameraNotFoundError(
                "permission denied",
                where=self.name,
                remedy="join the group video: sudo usermod -aG video $USER, then log in again",
            )
        device = path.resolve()  # by-id links change when a camera returns under another number
        capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
        self._use_capture(
            capture,
            "not a camera that V4L2 can read",
            "list the devices with: v4l2-ctl --list-devices",
        )
        for key, value in (
            (cv2.CAP_PROP_FOURCC, MJPG),
            (cv2.CAP_PROP_FRAME_WIDTH, self._options.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, self._options.height),
            (cv2.CAP_PROP_FPS, self._options.fps),
            (cv2.CAP_PROP_BUFFERSIZE, 1),  # a queue in the driver adds latency
        ):
            capture.set(key, value)
        self._request_encoded(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._persistent_path = self._persistent_path or by_id(device)


def by_id(device: Path) -> Path | None:
    """Return the persistent name of a V4L2 `device`, or None."""
    links = sorted(BY_ID.glob("*")) if BY_ID.is_dir() else []
    return next((link for link in links if link.resolve() == device), None)


class StreamSource(_OpenCVSource):
    """A network camera: http (Motion JPEG) or rtsp."""

    live = True

    def __init__(self, address: str, options: CameraOptions | None = None) -> None:
        super().__init__(redact_source(address), options or CameraOptions())
        self._address = address

    def clone(self) -> StreamSource:
        """See `Source.clone`."""
        return StreamSource(self._address, self._options)

    def open(self) -> None:
        """See `Source.open`."""
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS),
        ]
        self._use_capture(
            cv2.VideoCapture(
                with_password(self._address, self._options.password), cv2.CAP_FFMPEG, limits
            ),
            "no readable video at this address",
            "check the address, the user and the password, and the network",
        )
        self._request_encoded(cv2.CAP_PROP_FORMAT, -1)


def with_password(address: str, password: str) -> str:
    """Return `address` with the password of its user: scheme://USER@HOST/...

    An address without a user, or with a password, is returned as it is.
    """
    scheme, separator, rest = address.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, host = authority.rpartition("@")
    if not password or not user or ":" in user:
        return address
    tail = rest[len(authority) :]
    return f"{scheme}{separator}{user}:{quote(password, safe='')}{at}{host}{tail}"


class FileSource(_OpenCVSource):
    """A video file, read as fast as frames are taken, or at its own speed."""

    def __init__(
        self, path: Path, options: CameraOptions | None = None, *, one_thread: bool = False
    ) -> None:
        """`one_thread`: decode on one thread, which takes less memory."""
        super().__init__(str(path), options or CameraOptions())
        self._one_thread = one_thread or self._options.real_time
        self._pause_s = 0.0
        self._due_s = 0.0
        self._frames = 0
        self._missing = 0
        """Unreadable packets before the grabbed frame that are still to be reported."""
        self._grabbed = False

    @property
    def live(self) -> bool:  # type: ignore[override]
        """See `Source.live`; a file that loops in real time behaves like a camera."""
        return self._options.real_time and self._options.loop

    def clone(self) -> FileSource:
        """See `Source.clone`."""
        return FileSource(Path(self.name), self._options, one_thread=self._one_thread)

    def open(self) -> None:
        """See `Source.open`."""
        # A decoder keeps several pictures for each of its threads. Played at its own speed, a film
        # needs only one.
        threads = [cv2.CAP_PROP_N_THREADS, 1] if self._one_thread else []
        self._use_capture(
            cv2.VideoCapture(self.name, cv2.CAP_FFMPEG, threads),
            "not a video file, or damaged",
            "check that a video player opens it, or copy it again",
        )
        assert self._capture is not None
        if self._options.real_time:
            rate = self._capture.get(cv2.CAP_PROP_FPS)
            self._pause_s = 1 / rate if 0 < rate < 1000 else 1 / self._options.fps

    def next(self) -> Shot | None:
        """See `Source.next`."""
        self._wait()
        shot = self._next()
        if shot is None and self._options.loop and self._frames:
            self.close()
            self.open()
            self._frames = 0
            shot = self._next()
        self._frames += shot is not None
        return shot

    def _next(self) -> Shot | None:
        """Return the next frame, or a damaged one for each unreadable packet before it."""
        if not self._grabbed:
            self._grabbed = self._grab()
        if not self._grabbed:
            return None
        if self._missing:
            self._missing -= 1
            return Shot(None, time.monotonic())
        self._grabbed = False
        return self._retrieve()

    def _grab(self) -> bool:
        """Grab the next readable frame; return False at the end of the file.

        A damaged packet and the end look the same. After damage there are further frames.
        """
        assert self._capture is not None
        left = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) - self._frames
        for missing in range(int(max(GAP_PACKETS, min(left, 100 * GAP_PACKETS)))):
            if self._take():
                self._missing = missing
                return True
        return False

    def skip(self) -> bool:
        """See `Source.skip`; the frame is not converted to a picture."""
        if self._pause_s or self._options.loop:
            return self.next() is not None
        if not self._grabbed:
            self._grabbed = self._grab()
        if not self._grabbed:
            return False
        self._missing -= (damaged := self._missing > 0)
        self._grabbed = damaged
        self._frames += 1
        return True

    def properties(self) -> tuple[int, int, float, float]:
        """Return width and height of the open file's frames (pixels), its rate, and their number.

        The rate (frames per second) and the number are whatever the file states.
        """
        assert self._capture is not None
        width, height, rate, count = (
            self._capture.get(key)
            for key in (
                *(cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT),
                *(cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT),
            )
        )
        return int(width), int(height), rate, count

    def _wait(self) -> None:
        """Sleep until the next frame is due."""
        if self._pause_s:
            now_s = time.monotonic()
            self._due_s = max(self._due_s + self._pause_s, now_s - self._pause_s)
            time.sleep(max(0.0, self._due_s - now_s))
