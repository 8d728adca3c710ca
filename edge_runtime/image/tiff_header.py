"""Read the tags of a TIFF file. Exif data has the same structure.

A TIFF can hold nearly anything. A kind that OpenCV decodes wrongly or not at all is refused with
its name, so that an intact file is never called damaged.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from edge_runtime.errors import PhotoError

ORIENTATION = 0x0112
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of each type of value."""
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I"}
"""Types of whole numbers; others are not needed."""
_MOST_TAGS = 1024
_MOST_VALUES = 16
"""Values of a tag that are read. Only the tables of strips, which are not read, have more."""
_MOST_PAGES = 256
_MOST_TILE = 1 << 20
"""Pixels of a tile that is larger than the picture."""
_COMPRESSIONS = {
    6: "the old JPEG compression", 34712: "JPEG 2000 compression", 34887: "LERC compression",
    34892: "lossy JPEG compression", 34925: "LZMA compression", 34933: "PNG compression",
    50000: "Zstandard compression", 50001: "WebP compression", 50002: "JPEG XL compression",
    52546: "JPEG XL compression", 34676: "SGI LogLuv compression", 34677: "SGI LogLuv compression",
    34661: "JBIG compression", 32809: "ThunderScan compression", 32766: "NeXT compression",
}  # fmt: skip
_DECODED = frozenset({1, 2, 3, 4, 5, 7, 8, 32773, 32946})
_PHOTOMETRICS = {
    4: "a transparency mask", 9: "ICC Lab colors", 10: "ITU Lab colors", 32844: "LogL colors",
    32845: "LogLuv colors", 32803: "raw sensor data", 34892: "linear raw sensor data",
}  # fmt: skip
_GRAY, _RGB, _PALETTE, _CMYK, _YCC, _LAB = (0, 1), 2, 3, 5, 6, 8


class TiffHeader(NamedTuple):
    """The properties of the first page."""

    width: int
    height: int
    depth: int
    """Bits per sample."""
    alpha: bool
    multiplied: bool
    """Whether the file holds colors multiplied by alpha."""
    orientation: int
    """Exif number, 1 to 8."""
    pages: int


class _Tags(NamedTuple):
    values: dict[int, tuple[int, ...]]
    places: dict[int, int]
    """Offset of the value field of each tag."""
    next: int
    """Offset of the next page; 0 if this is the last one."""
    cut: bool


def read_tiff(data: bytes, where: object) -> TiffHeader:
    """Return the header of the TIFF file `data`; raises `PhotoError`, also for odd kinds."""
    if data[2:4] in (b"+\0", b"\0+"):
        raise _unsupported("BigTIFF files are", where)
    tags = _read_tags(data, _first(data))
    if tags is None or tags.cut:
        raise PhotoError("truncated TIFF", where=where, remedy="copy the file again")
    width, height = (tags.values.get(tag, (0,))[0] for tag in (256, 257))
    if not width or not height:
        raise PhotoError("damaged TIFF: it has no size", where=where, remedy="copy the file again")
    samples = tags.values.get(277, (1,))[0]
    alpha = _check_kind(tags.values, samples, where)
    depth = tags.values.get(258, (1,))[0]
    tile = tags.values.get(322, (0,))[0] * tags.values.get(323, (0,))[0]
    if tile > max(width * height, _MOST_TILE):
        raise _unsupported(f"TIFF files with tiles of {tile} pixels are", where)
    pages, seen, at = 1, set[int](), tags.next
    while at and at not in seen and pages < _MOST_PAGES:
        seen.add(at)
        page = _read_tags(data, at)
        if page is None:
            break
        pages, at = pages + 1, page.next
    orientation = _orientation(tags)
    multiplied = tags.values.get(338, (0,))[0] == 1
    return TiffHeader(width, height, depth, alpha, multiplied, orientation, pages)


def exif_orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) in Exif data; 1 if it has none or is malformed."""
    if exif[:6] == b"Exif\0\0":
        exif = exif[6:]
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    tags = _read_tags(exif, _first(exif))
    return 1 if tags is None else _orientation(tags)


def as_stored(data: bytes) -> bytes | bytearray:
    """Return the TIFF `data` with orientation 1. OpenCV applies some of the others, wrongly."""
    tags = _read_tags(data, _first(data))
    place = tags.places.get(ORIENTATION) if tags else None
    if place is None or (tags and _orientation(tags) == 1):
        return data
    changed = bytearray(data)
    changed[place - 6 : place + 4] = struct.pack(f"{_order(data)}HIHH", 3, 1, 1, 0)
    return changed


def _check_kind(values: dict[int, tuple[int, ...]], samples: int, where: object) -> bool:
    """Raise `PhotoError` if the kind cannot be decoded; return whether alpha is to be blended."""
    depths = values.get(258, (1,))
    depth = depths[0]
    compression = values.get(259, (1,))[0]
    color = values.get(262, (1,))[0]
    extra = values.get(338, ())
    separate = values.get(284, (1,))[0] == 2
    form = values.get(339, (1,))[0]
    colors = {_RGB: 3, _CMYK: 4, _YCC: 3, _LAB: 3}.get(color, 1)
    if compression not in _DECODED:
        name = _COMPRESSIONS.get(compression, f"compression {compression}")
        raise _unsupported(f"TIFF files with {name} are", where)
    if color in _PHOTOMETRICS or color not in (*_GRAY, _RGB, _PALETTE, _CMYK, _YCC, _LAB):
        raise _unsupported(
            f"TIFF files with {_PHOTOMETRICS.get(color, f'colors {color}')} are", where
        )
    if form in (2, 3, 5, 6):
        name = {2: "signed", 3: "floating-point"}.get(form, "complex")
        raise _unsupported(f"TIFF files with {name} samples are", where)
    if len(set(depths)) > 1:
        raise _unsupported("TIFF files with channels of different depths are", where)
    allowed = {_RGB: (8, 16), _CMYK: (8,), _YCC: (8,), _LAB: (8,), _PALETTE: (1, 4, 8)}
    if depth not in allowed.get(color, (1, 8, 16)):
        raise _unsupported(
            f"TIFF files with {depth} bits per sample in this color space are", where
        )
    if samples < colors or samples > colors + 1 or (samples != colors and color != _RGB):
        raise _unsupported(f"TIFF files with {samples} channels in this color space are", where)
    if separate and depth == 16 and samples > 1:
        raise _unsupported("TIFF files with 16-bit channels in separate planes are", where)
    return samples > colors and extra[:1] in ((1,), (2,))


def _unsupported(what: str, where: object) -> PhotoError:
    return PhotoError(
        f"{what} not supported", where=where, remedy="convert it to PNG with 8 bits per channel"
    )


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def _first(data: bytes) -> int:
    """Return the offset of the first page's tags; 0 if it is missing."""
    return int(struct.unpack(f"{_order(data)}I", data[4:8])[0]) if len(data) >= 8 else 0


def _orientation(tags: _Tags) -> int:
    value = tags.values.get(ORIENTATION, (1,))[0]
    return value if 1 <= value <= 8 else 1


def _read_tags(data: bytes, at: int) -> _Tags | None:
    """Return the tags at offset `at`; None if they are not in the file."""
    order = _order(data)
    if at < 8 or at + 2 > len(data):
        return None
    count = struct.unpack_from(f"{order}H", data, at)[0]
    values: dict[int, tuple[int, ...]] = {}
    places: dict[int, int] = {}
    cut = at + 2 + 12 * count + 4 > len(data) and at + 2 + 12 * count > len(data)
    for entry in range(at + 2, at + 2 + 12 * min(count, _MOST_TAGS), 12):
        if entry + 12 > len(data):
            break
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, entry)
        size = _SIZES.get(kind, 0) * number
        place = entry + 8
        if size > 4:
            place = struct.unpack_from(f"{order}I", data, place)[0]
            cut |= place + size > len(data)
        code = _FORMATS.get(kind)
        if code is None or not number or tag in values:
            continue
        number = min(number, _MOST_VALUES)
        if place + number * _SIZES[kind] <= len(data):
            values[tag] = struct.unpack_from(f"{order}{number}{code}", data, place)
            places[tag] = entry + 8
    end = at + 2 + 12 * count
    following = struct.unpack_from(f"{order}I", data, end)[0] if end + 4 <= len(data) else 0
    return _Tags(values, places, following, cut)
