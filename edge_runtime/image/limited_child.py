"""The child process of `limited`: decodes the photos that arrive on a socket."""

from __future__ import annotations

import contextlib
import socket

import cv2

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image
from edge_runtime.image.header import read_header
from edge_runtime.image.limited import DAMAGED, LIMIT_S, NO_MEMORY, REPLY, REQUEST
from edge_runtime.image.pixels import decode
from edge_runtime.shortage import shortage
from edge_runtime.system.limits import limit_cpu, limit_memory

IDLE_S = 30.0
_COPIES = 4
"""Copies of the file in memory: as it arrives, as bytes, with another orientation, and a spare."""


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
    limit_memory(needed + _COPIES * length)
    limit_cpu(LIMIT_S)
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
