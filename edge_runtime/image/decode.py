"""Photo files to pixels: JPEG, PNG, WebP, BMP and TIFF, upright, 8 bits, three channels.

Phones write JPEGs that are far larger than a network looks at, and turned by a tag: the tag is
honoured, and a large JPEG is decoded straight to a half, a quarter or an eighth of its size
(inside the JPEG decoder, several times faster and with a fraction of the memory).
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import NoPhotosError, PhotoError, storage_error
from edge_runtime.image import Image
from edge_runtime.image.header import read_header

Photo = str | os.PathLike[str] | bytes | Image
"""A photo as a caller hands it in: a path, an encoded file, or pixels (uint8 H x W x 3, BGR)."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MIN_SIDE = 32
"""Pixels. Below this there is nothing left to recognise."""
ENOUGH_SIDE = 512
"""Pixels. A JPEG is decoded at the smallest scale whose shorter side is still this long: more than
twice the 224 that the network sees, so that `fit` keeps at least one averaging step of its own."""
MAX_PIXELS = 1 << 26
"""Decoded pixels: 192 MiB of memory."""

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def find_photos(folder: Path) -> list[Path]:
    """The photos in `folder` and below, by path, hidden files left out.

    Raises `NoPhotosError` if there is none.
    """
    try:
        photos = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        raise NoPhotosError(str(error), where=folder) from error
    if not photos:
        raise NoPhotosError(
            "no photos in this folder" if folder.is_dir() else "no such folder",
            where=folder,
            remedy="it should hold " + ", ".join(sorted(SUFFIXES)) + " files",
        )
    return photos


def read_photo(path: str | os.PathLike[str]) -> Image:
    """The photo at `path` as uint8 H x W x 3 BGR, upright.

    Raises `PhotoError` for anything that is no whole photo of a usable size.
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
    _check_size(image.shape[1], image.shape[0], 1, "")
    return image


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The photo file at `path`, still encoded; raises `PhotoError`."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        fault = storage_error(error, path)
        raise PhotoError(
            fault.what if fault else str(error), where=path, remedy=fault.remedy if fault else ""
        ) from error


def decode_photo(data: bytes, *, where: object = "photo") -> Image:
    """The encoded photo in `data` as uint8 H x W x 3 BGR, upright; `where` names it in errors."""
    header = read_header(data, where)
    jpeg = header.kind == "JPEG"
    scale = reduction(header.width, header.height, ENOUGH_SIDE) if jpeg else 1
    if header.width:
        _check_size(header.width, header.height, scale, where)
    if not header.whole:
        raise PhotoError(f"truncated {header.kind}", where=where, remedy="copy the file again")
    buffer = np.frombuffer(data, dtype=np.uint8)
    try:
        image = _decode_on_white(buffer) if header.transparent else decode_reduced(buffer, scale)
    except cv2.error as error:
        if "PIXELS" in str(error):  # a format whose header we do not read ourselves
            raise _too_large("", where) from error
        image = None
    if image is None:
        raise PhotoError(
            f"damaged {header.kind}, it cannot be decoded", where=where, remedy="copy it again"
        )
    if not header.width:
        _check_size(image.shape[1], image.shape[0], 1, where)
    return image


def reduction(width: int, height: int, side: int) -> int:
    """By how much a JPEG may be reduced: 1, 2, 4 or 8, both sides staying at least `side` long."""
    scale = 1
    while scale < 8 and min(width, height) >= 2 * scale * side:
        scale *= 2
    return scale


def decode_reduced(buffer: NDArray[np.uint8], scale: int) -> Image | None:
    """The encoded `buffer` as uint8 H x W x 3 BGR, a JPEG at 1 / `scale` of its size.

    None: it cannot be decoded.
    """
    image = cv2.imdecode(buffer, _REDUCED[scale])
    return None if image is None else np.ascontiguousarray(image, dtype=np.uint8)


def _check_size(width: int, height: int, scale: int, where: object) -> None:
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"{width} x {height} pixels are too few to recognise anything",
            where=where,
            remedy=f"use a photo of at least {MIN_SIDE} x {MIN_SIDE}",
        )
    if width * height > MAX_PIXELS * scale * scale:
        raise _too_large(f"{width} x {height} pixels are ", where)


def _too_large(size: str, where: object) -> PhotoError:
    limit = MAX_PIXELS // 1_000_000
    return PhotoError(
        f"{size or 'it is '}too large to decode here",
        where=where,
        remedy=f"use a photo of at most {limit} megapixels",
    )


def _decode_on_white(buffer: NDArray[np.uint8]) -> Image | None:
    """A photo with transparency, laid on white as viewers show it."""
    image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return cv2.imdecode(buffer, cv2.IMREAD_COLOR)  # type: ignore[return-value]
    full = 65535 if image.dtype == np.uint16 else 255
    colour, alpha = image[..., :3].astype(np.float32), image[..., 3:].astype(np.float32) / full
    blended: Image = np.rint(colour * (255 / full) * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return blended
