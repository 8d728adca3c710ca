"""Receive uploaded photos, with limits on time, bytes and pixels before anything is decoded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from edge_runtime.image.decode import reduction_of
from edge_runtime.image.header import check_budget, read_header
from edge_runtime.settings.schema import HttpSettings

UPLOAD_S = 20.0
DISCARD_FACTOR = 4
"""Up to this multiple of the limit is read and discarded. A client that cannot finish sending does
not read the response."""
TOTAL_MB = 45
"""Limit of all photos that are in memory as received, unless two of the largest need more."""
TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff")


class UploadError(Exception):
    """A refused upload; `status` is the HTTP status code."""

    def __init__(self, status: int, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.status, self.what, self.remedy = status, what, remedy


@dataclass(eq=False)
class _Upload:
    client: str
    timer: asyncio.Timeout
    size: int = 0
    is_complete: bool = False
    gave_way: bool = False


class Uploads:
    """Receives photos into memory, up to a total size.

    Nothing else waits for an upload that is not complete. If the memory is used up, the oldest one
    of the client with the most bytes gives way.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._limit = int(settings.max_upload_mb * 1e6)
        self._most = max(int(TOTAL_MB * 1e6), 2 * self._limit)
        self._open: dict[_Upload, None] = {}  # oldest first

    def clear(self) -> None:
        """Forget all uploads."""
        self._open.clear()

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the body of `request`, an encoded photo; raises `UploadError` or `PhotoError`."""
        kind = kind_of(request)
        if kind not in TYPES:
            raise UploadError(
                415, f"unsupported content type {kind!a:.60}", f"send {', '.join(TYPES)}"
            )
        claimed = request.headers.get("content-length", "0")
        if claimed.isdecimal() and int(claimed) > DISCARD_FACTOR * self._limit:
            raise self._too_large()
        upload = _Upload(request.scope["state"]["client"], asyncio.timeout(UPLOAD_S))
        self._open[upload] = None
        try:
            data = await self._read(request, upload)
            check_pixels(data, self._settings.max_megapixels)
            yield data
        finally:
            self._open.pop(upload, None)

    async def _read(self, request: Request, upload: _Upload) -> bytes:
        body = bytearray()
        size = 0
        try:
            async with upload.timer:
                async for part in request.stream():
                    size += len(part)
                    if size <= self._limit:
                        body += part
                        upload.size = size
                        self._make_room(upload)
                    elif size > DISCARD_FACTOR * self._limit:
                        break
        except TimeoutError:
            if upload.gave_way:
                raise _too_many() from None
            raise UploadError(408, f"upload not complete after {UPLOAD_S:g} s") from None
        except ClientDisconnect:
            raise UploadError(400, "the connection was closed") from None
        if size > self._limit:
            raise self._too_large()
        upload.is_complete = True
        return bytes(body)

    def _make_room(self, upload: _Upload) -> None:
        """Let other uploads give way until all fit; raises `UploadError` if none can."""
        while sum(each.size for each in self._open) > self._most:
            sizes: Counter[str] = Counter()
            for each in self._open:
                if not each.is_complete:
                    sizes[each.client] += each.size
            largest = sizes.most_common(1)[0][0]
            oldest = next(
                each for each in self._open if not each.is_complete and each.client == largest
            )
            if oldest is upload:
                raise _too_many()
            oldest.gave_way, oldest.size, oldest.is_complete = True, 0, True
            oldest.timer.reschedule(0)

    def _too_large(self) -> UploadError:
        return UploadError(413, f"larger than {self._limit} bytes", "send a smaller photo")


def kind_of(request: Request) -> str:
    """Return the content type of `request`, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_many() -> UploadError:
    return UploadError(503, "too many photos at once", "try again in a few seconds")


def check_pixels(data: bytes, megapixels: float) -> None:
    """Raise `PhotoError` if the header announces a photo that needs too much memory.

    A JPEG counts at its reduced size, unless its decoder needs all pixels at once.
    """
    header = read_header(data, "photo")
    check_budget(header, reduction_of(header), "photo", most_pixels=megapixels * 1e6)
