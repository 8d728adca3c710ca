"""Decode encoded bytes to pixels with OpenCV, after their header was checked.

Runs in the process itself, and in the child that decodes TIFF files (limited.py).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image
from edge_runtime.image.header import PNG_MAGIC, Header, png_chunks
from edge_runtime.image.tiff_header import as_stored

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_BAND = 1 << 16
"""Pixels that are blended at once."""
_PNG_PARTS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_lock = threading.Lock()
_quiet = 0
"""Number of threads that decode at the moment."""
_streams: tuple[ctypes.c_void_p, int, int] | None = None
"""The C library's `stderr` variable, its value, and a stream that discards everything."""


def decode(data: bytes, header: Header, scale: int) -> Image | None:
    """Decode `data`, upright, to uint8 H x W x 3 BGR, a JPEG at 1 / `scale` of its size.

    Transparent pixels are blended with white. Returns None if `data` cannot be decoded.
    """
    if header.kind == "JPEG":
        return decode_reduced(np.frombuffer(data, np.uint8), scale)
    if header.kind == "PNG":
        data = _necessary(data)
    buffer = np.frombuffer(as_stored(data) if header.kind == "TIFF" else data, np.uint8)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    with quiet():
        image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED if header.alpha else flags)
        if image is not None and header.kind == "BMP" and header.alpha and not image[..., 3].any():
            image = cv2.imdecode(buffer, flags)  # some programs write no alpha into its place
        elif image is not None and image.ndim == 3 and image.shape[2] == 4:
            image = on_white(image, multiplied=header.multiplied)
        elif header.alpha:
            image = cv2.imdecode(buffer, flags)
        if image is None and header.kind == "BMP":  # some programs cut the padding or the last row
            image = cv2.imdecode(np.frombuffer(data + bytes(4 * header.width), np.uint8), flags)
    return None if image is None else _upright(image, header.orientation)  # type: ignore[arg-type]


def decode_reduced(buffer: NDArray[np.uint8], scale: int) -> Image | None:
    """Decode `buffer` to uint8 H x W x 3 BGR, a JPEG at 1 / `scale` of its size.

    Returns None if it cannot be decoded. Raises `cv2.error`.
    """
    with quiet():
        image = cv2.imdecode(buffer, _REDUCED[scale])
    return None if image is None else np.ascontiguousarray(image, dtype=np.uint8)


def on_white(image: NDArray[Any], *, multiplied: bool = False) -> Image:
    """Return `image` (uint8 or uint16 H x W x 4, BGR and alpha) on white, as uint8 H x W x 3.

    The result replaces the pixels of `image`, band by band, so that it takes no further memory.
    `multiplied`: the colors are already multiplied by alpha.
    """
    height, width = image.shape[:2]
    full = 65535 if image.dtype == np.uint16 else 255
    pixels = np.ascontiguousarray(image).reshape(-1, 4)
    target = pixels.reshape(-1).view(np.uint8)
    for begin in range(0, len(pixels), _BAND):
        band = pixels[begin : begin + _BAND].astype(np.float32)
        alpha = band[:, 3:] / full
        color = band[:, :3] * (255 / full)
        if not multiplied:
            color *= alpha
        color += 255 * (1 - alpha)
        blended = np.rint(np.minimum(color, 255)).astype(np.uint8)
        target[3 * begin : 3 * (begin + len(band))] = blended.reshape(-1)
    return target[: 3 * height * width].reshape(height, width, 3)


@contextmanager
def quiet() -> Iterator[None]:
    """Discard what libjpeg, libpng and libtiff write to the C library's `stderr`.

    They write a line for each odd file, without its name. Python and this program write to the
    descriptor itself, so their lines are not affected, in no thread.
    """
    global _quiet
    with _lock:
        _quiet += 1
        _direct()
    try:
        yield
    finally:
        with _lock:
            _quiet -= 1
            _direct()


def _direct() -> None:
    """Point `stderr` to the stream for the current number of threads."""
    global _streams
    if _streams is None:
        _streams = _open_streams()
    variable, normal, discarding = _streams
    if discarding:
        variable.value = discarding if _quiet else normal


def _open_streams() -> tuple[ctypes.c_void_p, int, int]:
    """Open the stream; 0 instead of it where `stderr` is not a variable (other C libraries)."""
    try:
        if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
            return ctypes.c_void_p(), 0, 0
        library = ctypes.CDLL(None)
        variable = ctypes.c_void_p.in_dll(library, "stderr")
        library.fopen.restype = ctypes.c_void_p
        return variable, variable.value or 0, library.fopen(b"/dev/null", b"we") or 0
    except (OSError, ValueError, AttributeError):
        return ctypes.c_void_p(), 0, 0


def _necessary(png: bytes) -> bytes:
    """Return `png` without texts, profiles and animation: a small compressed one can be huge."""
    if all(name in _PNG_PARTS for name, _, _ in png_chunks(png)):
        return png
    parts = [png[begin:end] for name, begin, end in png_chunks(png) if name in _PNG_PARTS]
    return b"".join([PNG_MAGIC, *parts])


def _upright(image: Image, orientation: int) -> Image:
    """Turn `image` as the Exif `orientation` (1 to 8) says."""
    turned: cv2.typing.MatLike = image
    if orientation in (2, 4):
        turned = cv2.flip(image, 1 if orientation == 2 else 0)
    elif orientation == 3:
        turned = cv2.rotate(image, cv2.ROTATE_180)
    elif orientation == 5:
        turned = cv2.transpose(image)
    elif orientation == 6:
        turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
    elif orientation == 7:
        turned = cv2.rotate(cv2.transpose(image), cv2.ROTATE_180)
    elif orientation == 8:
        turned = cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return np.ascontiguousarray(turned, dtype=np.uint8)


def jpeg(image: Image, longest: int, quality: int = 80) -> bytes:
    """Return `image` as a JPEG of at most `longest` pixels on the longer side."""
    scale = longest / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise PhotoError("cannot be encoded as JPEG")
    return data.tobytes()
