"""Read the markers of a JPEG, as libjpeg does, and what its decoding costs.

A JPEG in several scans, such as a progressive one, needs memory for the coefficients of the whole
picture at once, at any reduction, and each scan takes time for the whole picture. So both are
bounded. A camera's frames have smaller bounds of their own: `jpeg_frame.read_frame` uses
`next_marker` and `JpegSize` from here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from edge_runtime.errors import PhotoError
from edge_runtime.image.tiff_header import exif_orientation

END = b"\xff\xd9"
SCAN = b"\xff\xda"
FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
MAX_SCANS = 32
"""Encoders use about 10."""
MAX_SEGMENTS = 4096
"""Segments of one JPEG; a large color profile or text is divided into some hundred."""
_KINDS = {
    0xC3: "lossless JPEGs", 0xC5: "hierarchical JPEGs", 0xC6: "hierarchical JPEGs",
    0xC7: "hierarchical JPEGs", 0xCB: "lossless JPEGs", 0xCD: "hierarchical JPEGs",
    0xCE: "hierarchical JPEGs", 0xCF: "hierarchical JPEGs",
}  # fmt: skip


class JpegSize(NamedTuple):
    """What the frame header states."""

    width: int
    height: int
    units: int
    """Number of the smallest units of a scan with all channels."""
    blocks: int

    @classmethod
    def read(cls, content: bytes, where: object = "frame") -> JpegSize:
        """Parse the content of the frame header; raises `PhotoError`."""
        count = content[5] if len(content) > 5 else 0
        height, width = (int.from_bytes(content[at : at + 2], "big") for at in (1, 3))
        factors = [(content[at] >> 4, content[at] & 15) for at in range(7, len(content), 3)][:count]
        if not width or not height or len(factors) != count or not count:
            raise PhotoError("damaged JPEG: it has no size", where=where, remedy=_AGAIN)
        across, down = (max(1, *(pair[axis] for pair in factors), 1) for axis in (0, 1))
        units = -(-width // (8 * across)) * -(-height // (8 * down))
        return cls(width, height, units, units * sum(h * v for h, v in factors))


class JpegHeader(NamedTuple):
    """The properties of a photo."""

    size: JpegSize
    whole: bool
    missing: bool
    """Whether there is far too little data for the size."""
    orientation: int
    """Exif number, 1 to 8."""
    scans: int
    """1 for a JPEG whose first scan has all channels and all details; else their number."""
    several_scans: bool
    depth: int
    """Bits per sample."""
    span: tuple[int, int]
    """Where the data of the first scan begins, and where the last one ends."""

    @property
    def coefficient_bytes(self) -> int:
        """Memory for coefficients; 0 if each row is decoded for itself."""
        return self.size.blocks * 128 if self.several_scans else 0


_AGAIN = "copy the file again"
_TRUNCATED = "truncated JPEG"
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without content."""
_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""The other markers."""


class Scans(NamedTuple):
    """The scans of a JPEG."""

    number: int
    """At most one more than `MAX_SCANS`."""
    last: int
    """Offset of the data of the last scan."""
    end: int
    """Offset of the end marker; -1 if it is missing."""


def read_jpeg(data: bytes, where: object) -> JpegHeader:
    """Return the header of the JPEG `data`; raises `PhotoError`.

    A complete file has an end marker after the scan. Within the scan, 0xFF bytes are stuffed, so
    the marker cannot occur by chance. Before the scan it can occur, in an embedded thumbnail.
    """
    at, frame, kind, orientation = 2, b"", 0, 1
    for _ in range(MAX_SEGMENTS):
        at = next_marker(data, at)
        if at < 0 or at + 4 > len(data) or data[at + 1] == 0xD9:
            raise PhotoError(_TRUNCATED, where=where, remedy=_AGAIN)
        marker = data[at + 1]
        if marker in _ALONE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        content = data[at + 4 : at + 2 + length]
        if length < 2 or len(content) != length - 2:
            raise PhotoError(_TRUNCATED, where=where, remedy=_AGAIN)
        at += 2 + length
        if marker in FRAME_MARKERS:
            frame, kind = content, marker
        elif marker == 0xE1 and content[:6] == b"Exif\0\0":
            orientation = exif_orientation(content)
        elif marker == 0xDA:
            break
    else:
        raise too_many("segments", MAX_SEGMENTS, where)
    size = JpegSize.read(frame, where)
    _check_kind(kind, frame, where)
    several = kind in PROGRESSIVE or content[:1] != frame[5:6]
    scans = find_scans(data, at, where) if several else Scans(1, at, data.find(END, at))
    check_scans(scans, where)
    end = scans.end
    missing = end >= 0 and (end - at) * 8 < size.blocks // 64  # less than the shortest codes
    span = (at, end)
    return JpegHeader(size, end >= 0, missing, orientation, scans.number, several, frame[0], span)


def find_scans(data: bytes, at: int, where: object) -> Scans:
    """Return the scans of a JPEG in several scans; the data of the first one begins at `at`.

    Steps from marker to marker as libjpeg does: the content of a segment between two scans may
    look like an end marker. Stops after `MAX_SCANS`. Raises `PhotoError` for too many segments.
    """
    count, last = 1, at
    for _ in range(MAX_SEGMENTS):
        found = _SEGMENT.search(data, at)
        if not found or found[0] == END:
            return Scans(count, last, found.start() if found else -1)
        at, is_scan = found.start(), found[0] == SCAN
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if is_scan:
            count, last = count + 1, at
            if count > MAX_SCANS:
                return Scans(count, last, -1)
    raise too_many("segments", MAX_SEGMENTS, where)


def check_scans(scans: Scans, where: object) -> None:
    """Raise `PhotoError` if there are too many."""
    if scans.number > MAX_SCANS:
        raise too_many("scans", MAX_SCANS, where)


def too_many(what: str, most: int, where: object) -> PhotoError:
    """Return the error for a JPEG that has more than `most` segments or scans."""
    return PhotoError(
        f"JPEG with more than {most} {what}",
        where=where,
        remedy="save it again as a JPEG that is not progressive",
    )


def next_marker(data: bytes, at: int) -> int:
    """Return the offset of the next marker from `at` on, as libjpeg finds it; -1 if there is none.

    Bytes that are no marker, stuffed zeros and fill bytes are skipped.
    """
    found = _MARKER.search(data, at)
    return found.start() if found else -1


def _check_kind(kind: int, frame: bytes, where: object) -> None:
    """Raise `PhotoError` if libjpeg cannot decode this kind to 8 bits."""
    what = _KINDS.get(kind, "")
    if not what and frame[0] != 8:
        what = f"JPEGs with {frame[0]} bits per channel"
    if not what and frame[5] not in (1, 3, 4):
        what = f"JPEGs with {frame[5]} channels"
    if what:
        raise PhotoError(
            f"{what} are not supported", where=where, remedy="save it as an ordinary JPEG or PNG"
        )
