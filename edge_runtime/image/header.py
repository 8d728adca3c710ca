"""Parse the header of a photo file before any memory is allocated to decode it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from edge_runtime.errors import PhotoError

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")


class Header(NamedTuple):
    """The properties that determine whether and how a file is decoded."""

    kind: str
    width: int
    """Pixels; 0 if only the decoder can determine it."""
    height: int
    whole: bool
    """False if the end of the file is missing."""
    transparent: bool = False


def read_header(data: bytes, where: object) -> Header:
    """Return the header of the encoded photo `data`.

    Raises `PhotoError` if the format is not supported. `where` names the photo in errors.
    """
    if not data:
        raise PhotoError("the file is empty", where=where, remedy="copy the file again")
    if data[:3] == b"\xff\xd8\xff":
        return _read_jpeg(data)
    if data[:8] == _PNG_MAGIC:
        return _read_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        size = int.from_bytes(data[4:8], "little") + 8
        flags = data[20] if len(data) > 20 else 0
        transparent = data[12:16] == b"VP8L" or (data[12:16] == b"VP8X" and bool(flags & 0x10))
        return Header("WebP", 0, 0, len(data) >= size, transparent)
    if data[:2] == b"BM" and len(data) >= 26:
        size = int.from_bytes(data[2:6], "little")
        width, height = struct.unpack("<ii", data[18:26])
        return Header("BMP", abs(width), abs(height), len(data) >= size)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return Header("TIFF", 0, 0, True)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise PhotoError(
            "HEIC and AVIF photos are not supported",
            where=where,
            remedy='convert it to JPEG; on an iPhone, set the camera format to "Most Compatible"',
        )
    raise PhotoError("not an image", where=where, remedy="use a JPEG, PNG, WebP, BMP or TIFF file")


def _read_png(data: bytes) -> Header:
    """Walk the chunks; transparency is a color type or a separate chunk."""
    at, width, height, transparent = len(_PNG_MAGIC), 0, 0, False
    while at + 12 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"IHDR" and at + 18 <= len(data):
            width, height = struct.unpack(">II", data[at + 8 : at + 16])
            transparent = data[at + 17] in (4, 6)
        transparent |= name == b"tRNS"
        if name == b"IEND":
            return Header("PNG", width, height, True, transparent)
        at += 12 + length
    return Header("PNG", width, height, False, transparent)


def _read_jpeg(data: bytes) -> Header:
    """Walk the segments up to the scan; a complete file has an end marker after it.

    Within the scan, 0xFF bytes are stuffed, so the marker cannot occur by chance. Before the scan
    it can occur, in a thumbnail embedded by the camera.
    """
    at, width, height = 2, 0, 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 9 <= len(data):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
        if marker == 0xDA:
            return Header("JPEG", width, height, data.find(b"\xff\xd9", at) >= 0)
        at += 2 + length
    return Header("JPEG", width, height, False)
