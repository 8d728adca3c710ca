"""What makes a small photo file expensive without showing in its size: scans, segments, parts."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image, jpeg_frame
from edge_runtime.image.decode import decode_photo
from edge_runtime.image.header import MAX_CHUNKS, PNG_MAGIC
from edge_runtime.image.jpeg_frame import lacks_data, read_frame
from edge_runtime.image.jpeg_header import END, MAX_SEGMENTS, SCAN

COMMENT = b"\xff\xfe\0\x06\xff\xd9\xff\xd9"
"""A segment whose content looks like the end of a JPEG."""


def _encoded(image: Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(image[..., ::-1]).save(out, kind, **options)
    return out.getvalue()


def _fault(data: bytes) -> str:
    with pytest.raises(PhotoError) as caught:
        decode_photo(data)
    return str(caught.value)


@pytest.mark.parametrize("hidden", [b"", COMMENT, b"\xff\xec\0\x06\xff\xd9\0\0", b"\0\xff\xff"])
def test_scans_behind_what_looks_like_the_end_count(hidden: bytes, cat: Image) -> None:
    """A second's work per scan of a large picture; hidden ones were not counted."""
    whole = _encoded(cat[:64, :64], "JPEG", progressive=True)
    last = whole[whole.rindex(SCAN) : -2]
    few, many = (whole[:-2] + hidden + last * count + END for count in (2, 40))
    assert "more than 32 scans" in _fault(many)
    assert decode_photo(few).shape == (64, 64, 3)
    with pytest.raises(PhotoError, match="more than 32 scans"):
        read_frame(many)
    assert read_frame(few).end == len(few) - 2


def test_a_scan_that_is_cut_behind_what_looks_like_the_end_is_truncated(cat: Image) -> None:
    whole = _encoded(cat, "JPEG", progressive=True)
    cut = whole[: whole.rindex(SCAN)] + COMMENT + whole[whole.rindex(SCAN) : -20]
    assert "truncated JPEG" in _fault(cut)


def test_restart_markers_in_several_scans_are_no_segments(cat: Image) -> None:
    encoded, data = cv2.imencode(
        ".jpg", cat, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 1]
    )
    assert encoded
    assert data.tobytes().count(b"\xff\xd0") > 100
    assert decode_photo(data.tobytes()).shape == cat.shape
    assert read_frame(data.tobytes()).several_scans


def _chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("kind", "part", "most"),
    [
        ("JPEG", b"\xff\xfe\0\2", MAX_SEGMENTS),
        ("JPEG", b"\xff\xd0", MAX_SEGMENTS),
        ("PNG", _chunk(b"IDAT", b""), MAX_CHUNKS),
        ("PNG", _chunk(b"tEXt", b""), MAX_CHUNKS),
        ("WebP", b"ABCD\0\0\0\0", MAX_CHUNKS),
    ],
)
def test_the_number_of_parts_is_bounded(kind: str, part: bytes, most: int, cat: Image) -> None:
    """Each took a microsecond, and a part of a PNG 130 bytes of memory; uploads hold millions."""
    small = cat[:64, :64]

    def with_parts(count: int) -> bytes:
        if kind == "JPEG":
            whole = _encoded(small, kind)
            return whole[:2] + part * count + whole[2:]
        if kind == "PNG":
            whole = _encoded(small, kind)
            at = whole.index(b"IDAT") - 4
            return whole[:at] + _chunk(b"tIME", bytes(7)) + part * count + whole[at:]
        head = struct.pack("<4sIBxxxHxHx", b"VP8X", 10, 8, 63, 63)
        body = b"WEBP" + head + part * count + _encoded(small, kind, lossless=True)[12:]
        return b"RIFF" + struct.pack("<I", len(body)) + body

    assert with_parts(0)[:8] != PNG_MAGIC or kind == "PNG"
    assert decode_photo(with_parts(100)).shape == small.shape
    assert f"more than {most}" in _fault(with_parts(most + 1))


def test_pictures_are_compared_one_after_the_other() -> None:
    """A JPEG of 4 gigapixels and 130 KB took 770 MB, since three decoded ones were in memory."""
    data = _encoded(np.full((8192, 8192, 3), 128, np.uint8), "JPEG")
    tracemalloc.start()
    image = decode_photo(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert jpeg_frame.gray_corner(image)  # otherwise nothing is compared
    assert peak < 2 * image.nbytes + len(data)


def test_missing_data_is_found_in_gray(cat: Image) -> None:
    data = _encoded(cat, "JPEG")
    scan, gray = data.index(SCAN), cv2.IMREAD_REDUCED_GRAYSCALE_8
    assert not lacks_data(data, scan, len(data) - 2, gray)
    half = data[: len(data) // 2] + END
    assert lacks_data(half, scan, len(half) - 2, gray)
