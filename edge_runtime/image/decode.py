"""Decode JPEG, PNG, WebP, BMP and TIFF files to upright images of 8 bits and three channels.

Phones write JPEGs that are far larger than the network's input and store the orientation in a tag.
The tag is applied. A large JPEG is decoded directly at a half, a quarter or an eighth of its size.
This happens inside the JPEG decoder, is several times faster and needs a fraction of the memory.
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
from edge_runtime.shortage import check_memory, shortage

Photo = str | os.PathLike[str] | bytes | Image
"""A photo from a caller: a path, an encoded file, or pixels (uint8 H x W x 3, BGR)."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MIN_SIDE = 32
"""Pixels. A smaller image has too little detail to recognize."""
ENOUGH_SIDE = 512
"""Pixels. A JPEG is decoded at the smallest scale whose shorter side is still this long. This is
more than twice the network's 224, so that `preprocess` still runs at least one averaging step."""
MAX_PIXELS = 1 << 26
"""Decoded pixels; they take 192 MiB of memory."""
DECODER_BYTES = 12
"""Bytes per pixel that a decoder may need at once: three pictures of four channels."""

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def find_photos(folder: Path) -> list[Path]:
    """Return the photos in `folder` and its sub-folders, sorted by path, without hidden files.

    Raises `NoPhotosError` if there are none.
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
            remedy="pass a folder that contains " + ", ".join(sorted(SUFFIXES)) + " files",
        )
    return photos


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
    _check_size(image.shape[1], image.shape[0], 1, "")
    return image


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of the photo file at `path`; raises `PhotoError`."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        fault = storage_error(error, path)
        raise PhotoError(
            fault.what if fault else str(error), where=path, remedy=fault.remedy if fault else ""
        ) from error


def decode_photo(data: bytes, *, where: object = "photo") -> Image:
    """Return the encoded photo `data` as uint8 H x W x 3 BGR, upright.

    `where` names the photo in errors. Raises `PhotoError`.
    """
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
        if "PIXELS" in str(error):  # a format whose header is not parsed here
            raise _too_large("", where) from error
        if fault := shortage(error, where):
            raise fault from error
        image = None
    if image is None:
        check_memory(header.width * header.height * DECODER_BYTES, where)
        raise PhotoError(
            f"damaged {header.kind}: cannot be decoded",
            where=where,
            remedy="copy the file again",
        )
    if not header.width:
        _check_size(image.shape[1], image.shape[0], 1, where)
    return image


def reduction(width: int, height: int, side: int) -> int:
    """Return the largest JPEG reduction (1, 2, 4, 8) that keeps both sides at least `side` long."""
    scale = 1
    while scale < 8 and min(width, height) >= 2 * scale * side:
        scale *= 2
    return scale


def decode_reduced(buffer: NDArray[np.uint8], scale: int) -> Image | None:
    """Decode `buffer` to uint8 H x W x 3 BGR, a JPEG at 1 / `scale` of its size.

    Returns None if it cannot be decoded.
    """
    image = cv2.imdecode(buffer, _REDUCED[scale])
    return None if image is None else np.ascontiguousarray(image, dtype=np.uint8)


def _check_size(width: int, height: int, scale: int, where: object) -> None:
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"image is too small: {width} x {height} pixels",
            where=where,
            remedy=f"use a photo of at least {MIN_SIDE} x {MIN_SIDE} pixels",
        )
    if width * height > MAX_PIXELS * scale * scale:
        raise _too_large(f": {width} x {height} pixels", where)


def _too_large(size: str, where: object) -> PhotoError:
    limit = MAX_PIXELS // 1_000_000
    return PhotoError(
        f"image is too large to decode{size}",
        where=where,
        remedy=f"use a photo of at most {limit} megapixels",
    )


def _decode_on_white(buffer: NDArray[np.uint8]) -> Image | None:
    """Decode a transparent photo and blend it with white, as image viewers do."""
    image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return cv2.imdecode(buffer, cv2.IMREAD_COLOR)  # type: ignore[return-value]
    full = 65535 if image.dtype == np.uint16 else 255
    color, alpha = image[..., :3].astype(np.float32), image[..., 3:].astype(np.float32) / full
    blended: Image = np.rint(color * (255 / full) * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return blended
