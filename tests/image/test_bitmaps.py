"""Kinds of BMP files: what is decoded has the right colors, and the others are named."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import PhotoError
from edge_runtime.image.decode import decode_photo
from tests.image.pictures import HEIGHT, WIDTH, encode, gray_of, off
from tests.image.pictures import rgb as rgb


def _os2_bmp(rgb: NDArray[np.uint8], depth: int) -> bytes:
    """Return a BMP with the header of 12 bytes of OS/2."""
    bottom_up = rgb[::-1, :, ::-1]
    if depth == 24:
        table, rows = b"", bottom_up.tobytes()
    else:
        table = bytes(value for each in range(256) for value in (each, each, each))
        rows = gray_of(rgb)[::-1].tobytes()
    offset = 26 + len(table)
    head = b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset)
    return head + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, depth) + table + rows


def test_os2_bitmaps_are_decoded(rgb: NDArray[np.uint8]) -> None:
    assert off(decode_photo(_os2_bmp(rgb, 24)), rgb) == 0
    assert off(decode_photo(_os2_bmp(rgb, 8)), gray_of(rgb)) == 0


def test_a_bitmap_may_lack_a_part_of_its_last_row(rgb: NDArray[np.uint8]) -> None:
    """Some programs write that, with a file size that matches; the top row is stored last."""
    cut = bytearray(_os2_bmp(rgb, 8)[:-20])
    cut[2:6] = len(cut).to_bytes(4, "little")
    assert off(decode_photo(bytes(cut))[1:], gray_of(rgb)[1:]) == 0
    del cut[-5 * WIDTH :]
    cut[2:6] = len(cut).to_bytes(4, "little")
    with pytest.raises(PhotoError, match="damaged BMP"):
        decode_photo(bytes(cut))


def _bmp(length: int, masks: tuple[int, ...], pixels: NDArray[np.unsignedinteger]) -> bytes:
    """Return a BMP whose color masks are part of its header of `length` bytes, or follow it."""
    table = struct.pack(f"<{len(masks)}I", *masks)
    head = struct.pack("<IiiHHI20x", length, WIDTH, HEIGHT, 1, 8 * pixels.itemsize, 3) + table
    head = head.ljust(length, b"\0")
    rows = pixels[::-1].tobytes()
    size = struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head))
    return b"BM" + size + head + rows


def _placed(pixels: NDArray[np.uint8], shifts: tuple[int, ...]) -> NDArray[np.uint32]:
    """Return each pixel as one number, with its channels at `shifts`."""
    placed: NDArray[np.uint32] = np.bitwise_or.reduce(
        pixels.astype(np.uint32) << np.array(shifts, np.uint32), axis=2
    )
    return placed


@pytest.mark.parametrize("shifts", [(16, 8, 0), (0, 8, 16), (24, 16, 8)])
@pytest.mark.parametrize("length", [40, 56, 124])
def test_the_color_masks_of_a_bitmap(
    length: int, shifts: tuple[int, ...], rgb: NDArray[np.uint8]
) -> None:
    """OpenCV ignores those that follow a short header: red and blue changed places."""
    data = _bmp(length, tuple(0xFF << shift for shift in shifts), _placed(rgb, shifts))
    if length == 40 and shifts != (16, 8, 0):
        with pytest.raises(PhotoError, match="such color masks are not supported"):
            decode_photo(data)
    else:
        assert off(decode_photo(data), rgb) == 0


@pytest.mark.parametrize("masks", [(0x3FF00000, 0xFFC00, 0x3FF), (0xFF, 0xFF, 0xFF), (0, 0, 0)])
def test_other_color_masks_are_refused(masks: tuple[int, ...], rgb: NDArray[np.uint8]) -> None:
    for length in (40, 52, 108):
        with pytest.raises(PhotoError, match="such color masks are not supported"):
            decode_photo(_bmp(length, masks, _placed(rgb, (16, 8, 0))))


def test_bitmaps_of_16_bits(rgb: NDArray[np.uint8]) -> None:
    masks = (0xF800, 0x7E0, 0x1F)
    pixels = _placed(rgb >> np.array([3, 2, 3], np.uint8), (11, 5, 0)).astype(np.uint16)
    assert off(decode_photo(_bmp(40, masks, pixels)), rgb) < 8
    with pytest.raises(PhotoError, match="such color masks are not supported"):
        decode_photo(_bmp(124, masks, pixels))


def test_alpha_of_a_bitmap_is_laid_on_white(rgb: NDArray[np.uint8]) -> None:
    alpha = np.broadcast_to(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, WIDTH))
    masks, shifts = (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (16, 8, 0, 24)
    white = 255 - (255 - rgb.astype(int)) * alpha[..., None] / 255
    data = _bmp(108, masks, _placed(np.dstack([rgb, alpha]), shifts))
    assert off(decode_photo(data), white) <= 1
    # Nothing is visible: some programs write zeros for alpha and mean an opaque picture.
    nothing = _bmp(108, masks, _placed(np.dstack([rgb, np.zeros_like(alpha)]), shifts))
    assert off(decode_photo(nothing), rgb) == 0


def test_bitmaps_that_are_refused_are_named(rgb: NDArray[np.uint8]) -> None:
    bmp = bytearray(encode(rgb, "BMP"))
    for at, value, what in (
        (30, 4, "compression 4"),
        (30, 6, "compression 6"),
        (28, 2, "2 bits"),
        (14, 41, "of 41 bytes"),
    ):
        changed = bytes(bmp[:at]) + bytes([value]) + bytes(bmp[at + 1 :])
        with pytest.raises(PhotoError, match=f"{what}.* not supported"):
            decode_photo(changed)
