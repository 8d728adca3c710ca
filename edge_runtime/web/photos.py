"""Receive uploaded photos, with limits on time, bytes and pixels before anything is decoded."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from edge_runtime.errors import PhotoError
from edge_runtime.image.header import read_header
from edge_runtime.settings.schema import HttpSettings

UPLOAD_S = 20.0
DISCARD_FACTOR = 4
"""Up to this multiple of the limit is read and discarded. A client that cannot finish sending does
not read the response."""
TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff")


class UploadError(Exception):
    """A refused upload; `status` is the HTTP status code."""

    def __init__(self, status: int, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.status, self.what, self.remedy = status, what, remedy


async def read_upload(request: Request, settings: HttpSettings) -> bytes:
    """Return the body of `request`, an encoded photo; raises `UploadError` or `PhotoError`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES:
        raise UploadError(415, f"unsupported content type {kind!r:.60}", f"send {', '.join(TYPES)}")
    limit = int(settings.max_upload_mb * 1e6)
    too_large = UploadError(413, f"larger than {limit} bytes", "send a smaller photo")
    claimed = request.headers.get("content-length", "0")
    if claimed.isdecimal() and int(claimed) > DISCARD_FACTOR * limit:
        raise too_large
    body = bytearray()
    size = 0
    try:
        async with asyncio.timeout(UPLOAD_S):
            async for part in request.stream():
                size += len(part)
                if size <= limit:
                    body += part
                elif size > DISCARD_FACTOR * limit:
                    break
    except TimeoutError:
        raise UploadError(408, f"upload not complete after {UPLOAD_S:g} s") from None
    except ClientDisconnect:
        raise UploadError(400, "the connection was closed") from None
    if size > limit:
        raise too_large
    data = bytes(body)
    check_pixels(data, settings.max_megapixels)
    return data


def check_pixels(data: bytes, megapixels: float) -> None:
    """Raise `PhotoError` if the header announces a photo that needs too much memory.

    A JPEG is decoded at a reduced size, for which the decoder has its own limit.
    """
    header = read_header(data, "photo")
    if header.kind != "JPEG" and header.width * header.height > megapixels * 1e6:
        raise PhotoError(
            f"{header.width} x {header.height} pixels exceed the limit for this format",
            where="photo",
            remedy=f"use a JPEG, or at most {megapixels:g} megapixels",
        )
