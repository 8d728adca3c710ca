"""Cameras: where frames come from.

A `base.Source` is the small contract: open, next, close, each of which may block for as long as
hardware does. `capture.Capture` runs a source on a thread of its own and gives every wait a
deadline. Adding a kind of camera is adding a source.
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.camera.base import Source
from edge_runtime.camera.capture import Capture
from edge_runtime.errors import CameraNotFoundError
from edge_runtime.photo import SUFFIXES

__all__ = ["Capture", "Source", "open_camera", "parse_source"]


def parse_source(text: str) -> Source:
    """The source that `text` names: an index or /dev path, a URL, a folder or a video file."""
    from edge_runtime.camera.folder import FolderSource
    from edge_runtime.camera.video import DeviceSource, FileSource, StreamSource

    if text.isdecimal() or text.startswith("/dev/"):
        return DeviceSource(text)
    if "://" in text:
        return StreamSource(text)
    path = Path(text)
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return FolderSource(path) if path.suffix.lower() in SUFFIXES else FileSource(path)
    raise CameraNotFoundError(
        "no such camera",
        where=text,
        remedy="name a device (0 or /dev/v4l/by-id/...), a video file, a folder or a URL",
    )


def open_camera(text: str, *, first_frame_s: float = 10.0, next_frame_s: float = 5.0) -> Capture:
    """A running `Capture` of the source that `text` names; raises `CameraError`."""
    return Capture(parse_source(text), first_frame_s=first_frame_s, next_frame_s=next_frame_s)
