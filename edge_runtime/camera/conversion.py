"""Find frames that OpenCV delivers although it could not convert them.

With FFmpeg 8, OpenCV ignores that FFmpeg refuses to convert interlaced frames to color, and
delivers what the buffer contains: the previous frame, other memory, or black. FFmpeg logs each
refusal, so its log is read while a frame is converted that may be such a one.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import numpy as np

from edge_runtime.camera.interlaced import ffmpeg_library
from edge_runtime.image import Image

REFUSED = "OpenCV cannot convert this video, probably because it is interlaced"

_ERROR = 16
"""FFmpeg's level of errors; higher levels are less severe."""
_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_LOCK = threading.Lock()
"""FFmpeg has one log for all threads."""
_collected: dict[int, list[bytes | None]] = {}
"""The names of the parts of FFmpeg that logged an error, by the thread that collects them."""


class ConversionCheck:
    """Checks the frames of one video. Used from one thread."""

    def __init__(self) -> None:
        self._last: Image | None = None

    def failed(self, image: Image, convert: Callable[[], object]) -> bool:
        """Return whether `image`, uint8 H x W x 3, is a frame that was not converted.

        `convert` converts the frame again. It is called only if a failure would give this image: it
        is the first one, of one color, or equal to the previous one, whose buffer it shares.
        """
        last, self._last = self._last, image
        if last is not None and not _equal(image, last) and not _is_plain(image):
            return False
        library = ffmpeg_library("avutil")
        if library is None:
            return _is_plain(image)
        return _logs_error(library, convert)


def _is_plain(image: Image) -> bool:
    """Return whether all pixels are equal."""
    return bool((image == image[0, 0]).all()) if (image[-1] == image[0, 0]).all() else False


def _equal(image: Image, other: Image) -> bool:
    """Return whether two images are equal; a few rows usually decide that they are not."""
    if image.shape != other.shape or not np.array_equal(image[::32], other[::32]):
        return False
    return np.array_equal(image, other)


def _logs_error(library: ctypes.CDLL, convert: Callable[[], object]) -> bool:
    """Return whether FFmpeg's converter logs an error during `convert`."""
    thread = threading.get_ident()
    errors = _collected[thread] = []
    try:
        with _LOCK:
            library.av_log_set_callback(_CALLBACK)
            try:
                convert()
            finally:
                library.av_log_set_callback(library.av_log_default_callback)
    finally:
        del _collected[thread]
    return any(name and name.lower().startswith(b"sws") for name in errors)


def _store(context: int | None, level: int, _format: bytes, _arguments: int | None) -> None:
    errors = _collected.get(threading.get_ident())
    if errors is not None and context and level <= _ERROR:
        # Each context begins with a pointer to its class, which begins with its name.
        name = ctypes.cast(context, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p)))[0][0]
        errors.append(name)


_CALLBACK = _Callback(_store)
"""Exists until the process ends: a thread of another camera may have begun to call it and wait for
Python when it is not set any more. Freeing it then ended the process with SIGSEGV."""
