"""Cameras: the sources of frames.

A `base.Source` has three operations: open, next and close. Each may block as long as the hardware
does. `capture.Capture` runs a source on its own thread and bounds every wait. To support another
kind of camera, add a source.
"""

from __future__ import annotations

import re
from pathlib import Path

from edge_runtime.camera.base import CameraOptions, Source
from edge_runtime.camera.capture import FIRST_FRAME_S, NEXT_FRAME_S, Capture
from edge_runtime.errors import CameraNotFoundError
from edge_runtime.image.decode import SUFFIXES
from edge_runtime.redaction import redact_source

__all__ = ["CameraOptions", "Capture", "Source", "open_camera", "parse_source"]

_CSI = re.compile(r"(rpicam|picamera2)(?::(\d+))?")


def parse_source(text: str, options: CameraOptions | None = None) -> Source:
    """Return the source that `text` names.

    `text` is a device index or /dev path, rpicam[:N] or picamera2[:N], a URL, a folder, a photo or
    a video file. Raises `CameraNotFoundError`.
    """
    from edge_runtime.camera.folder import FolderSource
    from edge_runtime.camera.video import DeviceSource, FileSource, StreamSource

    if text.isdecimal() or text.startswith("/dev/"):
        return DeviceSource(text, options)
    if found := _CSI.fullmatch(text):
        return _csi(found[1], int(found[2] or 0), options)
    if "://" in text:
        return StreamSource(text, options)
    path = Path(text)
    try:
        if path.is_dir():
            return FolderSource(path, options)
        if path.is_file():
            kind = FolderSource if path.suffix.lower() in SUFFIXES else FileSource
            return kind(path, options)
    except OSError as error:  # an unreadable folder, or an invalid file name
        raise CameraNotFoundError(
            (error.strerror or str(error)).lower(),
            where=redact_source(text),
            remedy="check the path and the owner and mode of the file and its folders",
        ) from error
    raise CameraNotFoundError(
        "no such camera",
        where=redact_source(text),
        remedy="use a device (0 or /dev/v4l/by-id/...), rpicam, a video file, a folder or a URL",
    )


def _csi(kind: str, number: int, options: CameraOptions | None) -> Source:
    if kind == "rpicam":
        from edge_runtime.camera.pipe import RpicamSource

        return RpicamSource(number, options)
    from edge_runtime.camera.picamera import Picamera2Source

    return Picamera2Source(number, options)


def open_camera(
    text: str,
    options: CameraOptions | None = None,
    *,
    first_frame_s: float = FIRST_FRAME_S,
    next_frame_s: float = NEXT_FRAME_S,
) -> Capture:
    """Start a `Capture` of the source that `text` names; raises `CameraNotFoundError`."""
    return Capture(
        parse_source(text, options), first_frame_s=first_frame_s, next_frame_s=next_frame_s
    )
