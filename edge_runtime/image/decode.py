"""Decode JPEG, PNG, WebP, BMP and TIFF files to upright images of 8 bits and three channels.

Phones write JPEGs that are far larger than the network's input and store the orientation in a tag.
The tag is applied. A large JPEG is decoded directly at a half, a quarter or an eighth of its size.
This happens inside the JPEG decoder, is several times faster and needs a fraction of the memory.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

from edge_runtime.errors import PhotoError, ResourceError
from edge_runtime.image import Image
from edge_runtime.image.header import MAX_PIXELS, Header, check_budget, read_header
from edge_runtime.image.jpeg_frame import gray_corner, lacks_data
from edge_runtime.image.limited import decode_limited
from edge_runtime.image.photo_files import SUFFIXES as SUFFIXES
from edge_runtime.image.photo_files import find_photos as find_photos
from edge_runtime.image.photo_files import read_bytes as read_bytes
from edge_runtime.image.pixels import decode
from edge_runtime.shortage import check_memory, shortage
from edge_runtime.system.cgroup import free_memory

Photo = str | os.PathLike[str] | bytes | Image
"""A photo from a caller: a path, an encoded file, or pixels (uint8 H x W x 3, BGR)."""
MIN_SIDE = 32
"""Pixels. A smaller image has too little detail to recognize."""
ENOUGH_SIDE = 512
"""Pixels. A JPEG is decoded at the smallest scale whose shorter side is still this long. This is
more than twice the network's 224, so that `preprocess` still runs at least one averaging step."""
_SMOOTHED = 48
"""Gray levels by which the corner of a JPEG in several scans may differ from missing data."""
_SMALL_BYTES = 1 << 23
"""Whether there is memory for a smaller photo is not tested before it is decoded."""


def read_photo(path: str | os.PathLike[str]) -> Image:
    """Return the photo at `path` as uint8 H x W x 3 BGR, upright.

    Raises `PhotoError` if the file is not a complete photo of a usable size.
    """
    return decode_photo(read_bytes(path), where=path)


def load_photo(photo: Photo) -> Image:
    """Return `photo` as uint8 H x W x 3 BGR; raises `PhotoError`."""
    if isinstance(photo, np.ndarray):
        return check_image(photo)
    return decode_photo(photo) if isinstance(photo, bytes) else read_photo(photo)


def check_image(image: Image) -> Image:
    """Return `image` if it is uint8 H x W x 3 of a usable size; else raise `PhotoError`."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise PhotoError(
            f"pixels must be uint8 height x width x 3, got {image.dtype} {image.shape}",
            remedy="convert the array to 8 bits and three channels: blue, green, red",
        )
    _check_side(image.shape[1], image.shape[0], "")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise PhotoError(
            f"image is too large: {image.shape[1]} x {image.shape[0]} pixels",
            remedy=f"use a photo of at most {MAX_PIXELS // 1_000_000} megapixels",
        )
    return image


def decode_photo(data: bytes, *, where: object = "photo") -> Image:
    """Return the encoded photo `data` as uint8 H x W x 3 BGR, upright.

    `where` names the photo in errors. Raises `PhotoError`.
    """
    header = read_header(data, where)
    scale = reduction_of(header)
    _check_side(header.width, header.height, where)
    check_budget(header, scale, where)
    if not header.whole:
        raise PhotoError(f"truncated {header.kind}", where=where, remedy="copy the file again")
    if header.missing:
        what = f"damaged {header.kind}: nearly all of the picture is missing"
        raise PhotoError(what, where=where, remedy="copy the file again")
    needed = header.decode_bytes(scale)
    if needed > _SMALL_BYTES:
        _check_memory(needed, where)
    try:
        limited = header.kind == "TIFF"
        image = decode_limited(data, needed, where) if limited else decode(data, header, scale)
    except cv2.error as error:
        if missing := shortage(error, where):
            raise missing from error
        image = None
    if image is None:
        raise PhotoError(
            f"damaged {header.kind}: cannot be decoded",
            where=where,
            remedy="copy the file again",
        )
    if header.kind == "JPEG":
        # Where details are missing, libjpeg smooths the border of the gray part.
        tolerance = _SMOOTHED if header.fixed_bytes else 0
        gray, color = cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8
        flags = color if header.fixed_bytes else gray
        if gray_corner(image, tolerance) and lacks_data(data, *header.span, flags):
            what = "damaged JPEG: a part of the picture is missing"
            raise PhotoError(what, where=where, remedy="copy the file again")
    return image


def reduction_of(header: Header) -> int:
    """Return the reduction (1, 2, 4, 8) at which the photo of `header` is decoded."""
    jpeg = header.kind == "JPEG"
    return reduction(header.width, header.height, ENOUGH_SIDE) if jpeg else 1


def reduction(width: int, height: int, side: int) -> int:
    """Return the largest JPEG reduction (1, 2, 4, 8) that keeps both sides at least `side` long."""
    scale = 1
    while scale < 8 and min(width, height) >= 2 * scale * side:
        scale *= 2
    return scale


def _check_side(width: int, height: int, where: object) -> None:
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"image is too small: {width} x {height} pixels",
            where=where,
            remedy=f"use a photo of at least {MIN_SIDE} x {MIN_SIDE} pixels",
        )


def _check_memory(needed: int, where: object) -> None:
    """Raise `ResourceError` if `needed` bytes are not available.

    The decoders report that as damage, and the kernel kills what exceeds a service's limit.
    """
    check_memory(needed, where)
    free = free_memory()
    if free is not None and needed > free:
        raise ResourceError(
            f"too little memory: decoding takes {needed >> 20} MiB, and {free >> 20} are free",
            where=where,
            remedy="use a smaller photo, close other programs, or raise the memory limit",
        )
