"""Read the segments of a camera's JPEG, bound what decoding it may cost, and find cut pictures.

Cheap cameras put stray bytes between segments, omit the end marker, or deliver a frame whose second
half was lost. libjpeg accepts the first two. It also accepts the third: it fills the missing part
with gray and reports success.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import cv2
import numpy as np

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image
from edge_runtime.image.jpeg_header import (
    END,
    FRAME_MARKERS,
    MAX_SEGMENTS,
    PROGRESSIVE,
    JpegSize,
    Scans,
    check_scans,
    find_scans,
    next_marker,
    too_many,
)
from edge_runtime.image.pixels import quiet

START = b"\xff\xd8"
MAX_PIXELS = 7680 * 4320
"""Pixels of a frame: the largest size that the camera settings can request."""
MAX_DECODED_PIXELS = 1 << 23
"""Pixels of a frame after its reduction; they take 24 MiB."""
MAX_COEFFICIENT_BYTES = 1 << 25
"""A JPEG in several scans needs memory for all of its coefficients at once."""
MISSING = 128
"""Gray level, in every channel, of the part of a picture for which there is no data."""
_LEADING = 64
"""Bytes within which the JPEG must start."""
_TAIL = 2048
"""Bytes of a scan that are repeated to test whether the scan is complete."""


class JpegFrame(NamedTuple):
    """A JPEG without stray bytes, and what its headers state."""

    data: bytes
    """Ends with an end marker, whether the camera sent it or not."""
    width: int
    """Pixels."""
    height: int
    restarts: int
    """Number of restart markers that a complete scan contains; 0 without restart intervals."""
    scan: int
    """Offset of the data of the last scan."""
    end: int
    """Offset of the end marker."""
    several_scans: bool


def read_frame(data: bytes) -> JpegFrame:
    """Return the JPEG in `data`, without stray bytes.

    Raises `PhotoError` if it is not a JPEG, or if decoding could cost too much memory or time.
    """
    begin = data.find(START, 0, _LEADING)
    if begin < 0:
        raise PhotoError("not a usable JPEG: no start marker", where="frame")
    at, size, several, interval = begin + 2, b"", False, 0
    pieces, copied = [START], at
    for _ in range(MAX_SEGMENTS):
        marker_at = next_marker(data, at)
        if marker_at < 0:
            raise PhotoError("damaged JPEG: it ends before the picture", where="frame")
        marker = data[marker_at + 1]
        if marker_at != at:  # stray bytes: libjpeg skips them and prints a line for each frame
            pieces.append(data[copied:at])
            copied = marker_at
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these have no content
            at = marker_at + 2
            continue
        length = int.from_bytes(data[marker_at + 2 : marker_at + 4], "big")
        content = data[marker_at + 4 : marker_at + 2 + length]
        if marker in (0xD8, 0xD9) or length < 2 or len(content) != length - 2:
            raise PhotoError("damaged JPEG: its segments are cut", where="frame")
        at = marker_at + 2 + length
        if marker in FRAME_MARKERS:
            size, several = content, marker in PROGRESSIVE
        elif marker == 0xDD:
            interval = int.from_bytes(content[:2], "big")
        elif marker == 0xDA:
            several |= content[:1] != size[5:6]  # the scan has only some of the channels
            break
    else:
        raise too_many("segments", MAX_SEGMENTS, "frame")
    if begin or len(pieces) > 1:
        pieces.append(data[copied:])
        at -= len(data)
        data = b"".join(pieces)
        at += len(data)
    return _bounded(data, at, JpegSize.read(size), several=several, interval=interval)


def is_cut(frame: JpegFrame, image: Image) -> bool:
    """Return whether the data of `frame`, which was decoded to `image`, ends early.

    Where data is missing, the last part of the picture is gray. If a corner is, the picture is
    decoded twice, once with more data behind the end: only a picture that lacks data changes.
    """
    if not gray_corner(image) and not frame.several_scans:
        return False
    restarts = sum(
        frame.data.count(bytes((0xFF, 0xD0 + number)), frame.scan, frame.end)
        for number in range(8 if frame.restarts else 0)
    )
    return restarts < frame.restarts or lacks_data(
        frame.data,
        frame.scan,
        frame.end,
        cv2.IMREAD_COLOR if frame.several_scans else cv2.IMREAD_REDUCED_GRAYSCALE_8,
    )


def gray_corner(image: Image, tolerance: int = 0) -> bool:
    """Return whether a corner has the gray of a part without data, or differs by `tolerance`."""
    corners = image[:: max(image.shape[0] - 1, 1), :: max(image.shape[1] - 1, 1)]
    if not tolerance:
        return bool((corners == MISSING).all(axis=2).any())
    return bool((np.abs(corners.astype(int) - MISSING) <= tolerance).all(axis=2).any())


def lacks_data(data: bytes, scan: int, end: int, flags: int) -> bool:
    """Return whether more data between `scan`, where the data begins, and `end` changes a picture.

    `flags` of cv2.imdecode: what is compared. In a single scan, all channels end together, so
    small and gray is enough. In several, the last channel or the last details may be missing.
    """
    tail = data[scan : min(scan + _TAIL, end)]
    longer = data[:end] + tail.replace(b"\xff", b"\xfe") + END
    before = _digest(data, flags)
    return before is None or before != _digest(longer, flags)


def _digest(data: bytes, flags: int) -> int | None:
    """Return a digest of the picture, so that two of them are never in memory at once."""
    with quiet():
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return None if image is None else zlib.crc32(np.ascontiguousarray(image).data)


def _bounded(data: bytes, scan: int, size: JpegSize, *, several: bool, interval: int) -> JpegFrame:
    """Return the frame whose first scan begins at `scan`, if it is within all bounds.

    `several`: the header announces further scans.
    """
    scans = find_scans(data, scan, "frame") if several else Scans(1, scan, data.find(END, scan))
    check_scans(scans, "frame")
    end = scans.end
    if end < 0:
        end = len(data) - data.endswith(b"\xff")  # half of a marker
        data = data[:end] + END
    if size.width * size.height > MAX_PIXELS or (
        several and size.blocks * 128 > MAX_COEFFICIENT_BYTES
    ):
        kind = "JPEG in several scans" if several else "JPEG"
        raise PhotoError(
            f"{kind} of {size.width} x {size.height} pixels is too large",
            where="frame",
            remedy="set a smaller size in the camera, or camera.width and camera.height",
        )
    if (end - scan) * 8 < size.blocks // 64:  # far less than the shortest code of each block
        raise PhotoError("damaged JPEG: nearly all of the picture is missing", where="frame")
    restarts = (size.units - 1) // interval if interval and not several else 0
    return JpegFrame(data, size.width, size.height, restarts, scans.last, end, several)
