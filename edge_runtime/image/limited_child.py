"""The child process of `limited`: decodes the photos that arrive on a socket."""

from __future__ import annotations

import contextlib
import resource
import socket
from pathlib import Path

import cv2

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image
from edge_runtime.image.header import read_header
from edge_runtime.image.limited import DAMAGED, LIMIT_S, NO_MEMORY, REPLY, REQUEST
from edge_runtime.image.pixels import decode
from edge_runtime.shortage import shortage

IDLE_S = 30.0
_COPIES = 4
"""Of the file: as it arrives, as bytes, with another orientation, and one to spare."""


def main(descriptor: int) -> None:
    """Decode photos from the socket `descriptor` until it is closed, or idle for `IDLE_S`."""
    cv2.setNumThreads(1)
    with socket.socket(fileno=descriptor) as parent, contextlib.suppress(OSError):
        while data := _receive(parent):
            code, image = _decode(data)
            height, width = (0, 0) if image is None else image.shape[:2]
            parent.settimeout(None)
            parent.sendall(REPLY.pack(code, height, width))
            if image is not None:
                parent.sendall(image.reshape(-1).data)
            del data, image


def _receive(parent: socket.socket) -> bytearray:
    """Return the next photo; empty at the end. Raises `TimeoutError`."""
    parent.settimeout(IDLE_S)
    head = parent.recv(REQUEST.size, socket.MSG_WAITALL)
    if len(head) < REQUEST.size:
        return bytearray()
    length, needed = REQUEST.unpack(head)
    _limit(needed + _COPIES * length)
    data = bytearray(length)
    parent.settimeout(None)
    return data if parent.recv_into(data, 0, socket.MSG_WAITALL) == len(data) else bytearray()


def _decode(data: bytearray) -> tuple[int, Image | None]:
    try:
        photo = bytes(data)
        image = decode(photo, read_header(photo, ""), 1)
    except (PhotoError, cv2.error, MemoryError) as error:
        return NO_MEMORY if shortage(error) else DAMAGED, None
    if image is not None:
        return 0, image
    return DAMAGED, None


def _limit(more: int) -> None:
    """Limit the next photo to `more` bytes of memory beyond the present use, and in CPU time."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = pages * resource.getpagesize()
    _lower(resource.RLIMIT_AS, used + more)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + LIMIT_S + 1)


def _lower(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, hard))
