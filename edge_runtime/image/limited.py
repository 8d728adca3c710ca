"""Decode a photo in a child process with hard limits on memory and time.

What a TIFF takes does not follow from its header: libtiff has many decoders, and strips and tiles
have sizes of their own. The child starts with the first such photo, decodes one after another, and
ends after half a minute without work. It is replaced after any failure.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from edge_runtime.errors import PhotoError, ResourceError
from edge_runtime.image import Image
from edge_runtime.image.header import MAX_DECODE_BYTES

LIMIT_S = 30
"""CPU time of one photo."""
WALL_LIMIT_S = 120.0
"""Time of one photo on a busy machine, and of the start of the child."""
REQUEST = struct.Struct("<QQ")
"""The length of the photo, and the memory that it may take beside its bytes."""
REPLY = struct.Struct("<iII")
"""What the child answers: one of the codes below, or 0 and the height and width of the pixels."""
DAMAGED, NO_MEMORY = 1, 2
_RESERVE = 32 << 20
_ROOT = Path(__file__).resolve().parents[2]


class _ChildEndedError(Exception):
    """The child's end of the socket is closed."""


class _Child:
    """The process and the socket to it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._socket, other = socket.socketpair()
        with other:
            # By path, so that the child runs the same code as this process wherever that lies.
            start = (
                f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
                f"from edge_runtime.image.limited_child import main; main({other.fileno()})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(other.fileno(),),
            )
        self._socket.setblocking(False)

    def decode(self, data: bytes, needed: int, end_s: float) -> Image | int:
        """Return the pixels of `data`, or the code of what is wrong.

        Raises `_ChildEndedError` or `TimeoutError`; then the child is to be closed.
        """
        self._send(REQUEST.pack(len(data), needed), end_s)
        self._send(data, end_s)
        reply = bytearray(REPLY.size)
        self._receive(memoryview(reply), end_s)
        code, height, width = REPLY.unpack(reply)
        if code:
            return int(code)
        if height * width * 3 > MAX_DECODE_BYTES:
            raise _ChildEndedError
        image = np.empty((height, width, 3), np.uint8)
        self._receive(image.reshape(-1).data, end_s)
        return image

    def close(self) -> int:
        """End the child; return its exit code, negative for a signal."""
        self._socket.close()
        if self.owner != os.getpid():  # a fork of the process that started it
            self._process.returncode = 0
            return 0
        try:
            return self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return 0

    def _send(self, data: bytes, end_s: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(end_s, writing=True)
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise _ChildEndedError from error

    def _receive(self, view: memoryview, end_s: float) -> None:
        while view:
            self._wait(end_s, writing=False)
            try:
                count = self._socket.recv_into(view)
            except BlockingIOError:
                continue
            except OSError as error:
                raise _ChildEndedError from error
            if not count:
                raise _ChildEndedError
            view = view[count:]

    def _wait(self, end_s: float, *, writing: bool) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT if writing else select.POLLIN)
        if not poll.poll(max(end_s - time.monotonic(), 0) * 1000):
            raise TimeoutError


_child: _Child | None = None
_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: _after_fork())


def decode_limited(data: bytes, needed: int, where: object) -> Image | None:
    """Return the photo `data` as uint8 H x W x 3 BGR, upright; None if it cannot be decoded.

    `needed`: memory that its header announces, bytes; the child may use this and a reserve.
    Raises `PhotoError` if it takes more memory or time than a photo may, and `ResourceError` if
    the child cannot be started.
    """
    with _lock:
        for attempt in (1, 2):
            try:
                answer = _open().decode(data, needed + _RESERVE, time.monotonic() + WALL_LIMIT_S)
            except TimeoutError:
                _close()
                raise _too_expensive(f"does not end within {WALL_LIMIT_S:g} s", where) from None
            except _ChildEndedError:
                code = _close()
                if code == -signal.SIGXCPU:
                    raise _too_expensive(f"takes more than {LIMIT_S} s", where) from None
                if code == 0 and attempt == 1:  # it ended just now, since it had no work
                    continue
                if code > 0:
                    raise ResourceError(
                        "the process that decodes this kind of photo cannot start",
                        where=where,
                        remedy="close other programs, or raise the memory limit",
                    ) from None
                return None
            except OSError as error:
                raise ResourceError(
                    f"cannot start a process to decode this kind of photo: {error.strerror}",
                    where=where,
                    remedy="close other programs, or raise the limits of processes and open files",
                ) from error
            if isinstance(answer, np.ndarray):
                return answer
            if answer == NO_MEMORY:
                limit = needed + _RESERVE >> 20
                raise _too_expensive(f"takes more than {limit} MiB of memory", where)
            return None
    return None


def _too_expensive(what: str, where: object) -> PhotoError:
    return PhotoError(f"this TIFF {what} to decode", where=where, remedy="save it as a PNG or JPEG")


def _open() -> _Child:
    global _child
    if _child is None:
        _child = _Child()
    return _child


@atexit.register
def _close() -> int:
    global _child
    child, _child = _child, None
    return child.close() if child else 0


def _after_fork() -> None:
    """Leave the child to the process that started it."""
    global _lock
    _lock = threading.Lock()
    _close()
