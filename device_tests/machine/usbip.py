"""A USB device in Python that a machine attaches over the network (USB/IP 1.1.1).

The machine runs Debian's `usbip attach` and the kernel's virtual host controller, `vhci_hcd`.
Everything above it (enumeration, drivers, udev) works as with a device on a cable. Closing the
connection corresponds to pulling the cable.
Source: the kernel's Documentation/usb/usbip_protocol.rst.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import AbstractContextManager
from typing import Any

VERSION, BUS_ID = 0x0111, "1-1"
IMPORT, IMPORTED = 0x8003, 0x0003
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
HIGH_SPEED = 3
STALL, UNLINKED_STATUS = -32, -104
"""EPIPE for unsupported requests; ECONNRESET for transfers that were unlinked."""
HEAD = struct.Struct(">5I")
"""Command, number, device, direction (1: to the host), endpoint."""


class StallError(Exception):
    """The device does not support the request."""


class Device(ABC):
    """A USB device with descriptors, control requests and one bulk endpoint to the host."""

    vendor: int
    product: int
    interfaces: int

    @abstractmethod
    def control(self, setup: bytes, data: bytes) -> bytes:
        """Answer a request (`setup`, 8 bytes) on endpoint 0; raises `StallError`."""

    @abstractmethod
    def bulk(self, limit: int) -> bytes:
        """Return the data of the next transfer, at most `limit` bytes. May block."""


class Port(AbstractContextManager["Port"]):
    """A port to which one machine at a time can attach `device`, again also after `pull`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.number = int(self._listener.getsockname()[1])
        """Number of the TCP port."""
        self._line: socket.socket | None = None
        self._thread = threading.Thread(target=self._accept, name="usb port", daemon=True)
        self._thread.start()

    def pull(self) -> None:
        """Close the connection without notice, as when a cable is pulled."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def __exit__(self, *_: Any) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.pull()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                self._line, _ = self._listener.accept()
            except OSError:
                return
            with self._line, contextlib.suppress(OSError):
                if self._import(self._line):
                    _Attached(self._line, self.device).serve()

    def _import(self, line: socket.socket) -> bool:
        _, code, _, bus = struct.unpack(">HHI32s", _exactly(line, 40))
        known: bool = code == IMPORT and bus.rstrip(b"\0").decode() == BUS_ID
        line.sendall(struct.pack(">HHI", VERSION, IMPORTED, not known))
        if known:
            path, device = f"/sys/devices/{BUS_ID}".encode(), self.device
            numbers = (1, 2, HIGH_SPEED, device.vendor, device.product, 0x0100)
            kinds = (0xEF, 2, 1, 1, 1, device.interfaces)  # class: interfaces belong together
            line.sendall(struct.pack(">256s32s3I3H6B", path, BUS_ID.encode(), *numbers, *kinds))
        return known


class _Attached:
    """One connection. Control requests are answered at once, bulk transfers when data arrives."""

    def __init__(self, line: socket.socket, device: Device) -> None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line, self._device = line, device
        self._waiting: deque[tuple[int, int]] = deque()
        """Pending bulk transfers: number and maximum length in bytes."""
        self._changed = threading.Condition()
        self._gone = False

    def serve(self) -> None:
        """Serve requests until the machine detaches the device or the cable is pulled."""
        pump = threading.Thread(target=self._pump, name="usb bulk", daemon=True)
        pump.start()
        try:
            while True:
                self._answer()
        finally:
            with self._changed:
                self._gone = True
                self._changed.notify_all()
            pump.join()

    def _answer(self) -> None:
        command, number, _, inwards, endpoint = HEAD.unpack(_exactly(self._line, HEAD.size))
        rest = _exactly(self._line, 28)
        if command == UNLINK:
            self._unlink(number, struct.unpack(">I", rest[:4])[0])
            return
        (length,) = struct.unpack(">I", rest[4:8])
        data = b"" if inwards else _exactly(self._line, length)
        if endpoint:
            with self._changed:
                self._waiting.append((number, length))
                self._changed.notify_all()
            return
        try:
            answer = self._device.control(rest[20:], data)[:length] if inwards else b""
            status = 0
            if not inwards:
                self._device.control(rest[20:], data)
        except StallError:
            answer, status = b"", STALL
        self._done(number, status, len(answer) if inwards else len(data), answer)

    def _unlink(self, number: int, which: int) -> None:
        with self._changed:
            known = [item for item in self._waiting if item[0] == which]
            for item in known:
                self._waiting.remove(item)
            status = UNLINKED_STATUS if known else 0
            head = HEAD.pack(UNLINKED, number, 0, 0, 0)
            self._line.sendall(head + struct.pack(">i24x", status))

    def _pump(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._gone)
                if self._gone:
                    return
                limit = self._waiting[0][1]
            data = self._device.bulk(limit)
            with self._changed, contextlib.suppress(OSError):
                if self._waiting:  # otherwise all were unlinked, and the data is lost
                    self._done(self._waiting.popleft()[0], 0, len(data), data)

    def _done(self, number: int, status: int, length: int, data: bytes) -> None:
        with self._changed:
            head = HEAD.pack(SUBMITTED, number, 0, 0, 0)
            self._line.sendall(head + struct.pack(">iI20x", status, length) + data)


def _exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = line.recv(count - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data
