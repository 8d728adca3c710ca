"""Receive uploaded clips into files, with limits on time, bytes and the number at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.requests import Request

from edge_runtime.errors import BusyError
from edge_runtime.system.files import discard
from edge_runtime.web.gallery_files import Limits, receive_body, receive_file
from edge_runtime.web.photos import UploadError, kind_of

TYPES = (
    *("video/mp4", "video/quicktime", "video/x-m4v", "video/3gpp"),
    *("video/x-matroska", "video/matroska", "video/webm"),
    *("video/x-msvideo", "video/avi", "video/vnd.avi"),
)
UPLOAD_S = 90.0
"""Longest time of an upload."""
MOST_AT_ONCE, MOST_OF_A_CLIENT = 4, 2
"""Clips that are received, recognized or waiting."""
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""What a file of the MP4 family begins with, after four bytes of length."""


class ClipUploads:
    """Receives clips into files beside the gallery."""

    def __init__(self, beside: Callable[[str], Path], most_mb: float) -> None:
        """`beside` returns a new path for a file; `most_mb` is the largest accepted clip."""
        self._beside = beside
        self._limit = int(most_mb * 1e6)
        self._open: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clips")
        self._thread.submit(int)  # starts the thread now, while it can be

    def clear(self) -> None:
        """Forget all uploads."""
        self._open.clear()

    def close(self) -> None:
        """Refuse new uploads."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Path]:
        """Yield the body of `request` as a file, which disappears at the end.

        Raises `UploadError`, `BusyError` or `StorageError`.
        """
        client = request.scope["state"]["client"]
        remedy = "send a shorter or smaller clip, or raise http.max_clip_mb"
        too_large = UploadError(413, f"larger than {self._limit} bytes", remedy)
        limits = Limits(self._limit, too_large, UPLOAD_S)
        if self._open.total() >= MOST_AT_ONCE or self._open[client] >= MOST_OF_A_CLIENT:
            await receive_body(request, limits)  # who cannot finish sending reads no answer
            raise BusyError("too many clips at once", remedy="try again in a minute")
        path = self._beside("upload")
        self._open[client] += 1
        try:
            await receive_file(request, path, limits, self._thread)
            _check_kind(path)
            yield path
        finally:
            self._open[client] -= 1
            discard(path)


def is_clip(request: Request) -> bool:
    """Return whether the body of `request` is announced as a clip."""
    return kind_of(request) in TYPES


def _check_kind(path: Path) -> None:
    """Raise `UploadError` unless the file begins like a video file of a supported kind.

    FFmpeg reads playlists, too, which name other files.
    """
    with path.open("rb") as file:
        head = file.read(12)
    matroska = head[:4] == b"\x1a\x45\xdf\xa3"
    avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
    if not head:
        raise UploadError(422, "the clip is empty")
    if not (matroska or avi or head[4:8] in _BOXES):
        raise UploadError(422, "not an MP4, MOV, MKV, WebM or AVI file", "convert it to MP4")
