"""The USB camera of `make machine-test`, driven by the requests of a kernel."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from device_tests.machine import webcam
from device_tests.machine.usbip import BUS_ID, SUBMIT, UNLINK, Port
from device_tests.machine.webcam import Webcam

GRAY, WHITE = (np.full((480, 640, 3), level, np.uint8) for level in (90, 250))


class Kernel:
    """The other end of the connection: sends what `usbip attach` and `vhci_hcd` send."""

    def __init__(self, port: Port) -> None:
        self.line = socket.create_connection(("127.0.0.1", port.number), 20)
        self.line.sendall(struct.pack(">HHI32s", 0x0111, 0x8003, 0, BUS_ID.encode()))
        assert struct.unpack(">HHI", self.read(8)) == (0x0111, 3, 0)
        self.device = self.read(312)
        self.number = 0

    def read(self, count: int) -> bytes:
        return self.line.recv(count, socket.MSG_WAITALL)

    def send(self, endpoint: int, length: int, setup: bytes = bytes(8), data: bytes = b"") -> int:
        self.number += 1
        head = struct.pack(">5I", SUBMIT, self.number, 0, not data, endpoint)
        self.line.sendall(head + struct.pack(">IIIII", 0, length, 0, 0, 0) + setup + data)
        return self.number

    def answer(self, inwards: bool = True) -> tuple[int, int, bytes]:
        """Return number, status and data of the next answer."""
        _, number, *_ = struct.unpack(">5I", self.read(20))
        status, length = struct.unpack(">iI20x", self.read(28))
        return number, status, self.read(length) if inwards and length else b""

    def ask(self, kind: int, request: int, value: int, index: int, length: int) -> bytes | None:
        self.send(0, length, struct.pack("<BBHHH", kind, request, value, index, length))
        _, status, data = self.answer()
        return None if status else data

    def negotiate(self, format_: int) -> bytes:
        """Probe and commit, as uvcvideo does; return the negotiated values."""
        offer = bytearray(self.ask(0xA1, 0x81, 0x0100, 1, 34) or b"")
        offer[2] = format_
        for control in (0x0100, 0x0200):
            self.send(0, 34, struct.pack("<BBHHH", 0x21, 1, control, 1, 34), bytes(offer))
            assert self.answer(inwards=False)[1] == 0
        return self.ask(0xA1, 0x81, 0x0100, 1, 34) or b""

    def frame(self) -> bytes:
        """Return one frame: all payloads up to the one that is marked as the last."""
        data = b""
        while True:
            self.send(1, webcam.PAYLOAD_BYTES)
            _, status, payload = self.answer()
            assert status == 0
            assert payload[0] == 2
            data += payload[2:]
            if payload[1] & 2:
                return data


@pytest.fixture
def camera() -> Webcam:
    return Webcam(GRAY, fps=100)


@pytest.fixture
def port(camera: Webcam) -> Iterator[Port]:
    with Port(camera) as port:
        yield port


@pytest.fixture
def kernel(port: Port) -> Iterator[Kernel]:
    kernel = Kernel(port)
    with kernel.line:
        yield kernel


def test_descriptors_have_the_lengths_they_declare(kernel: Kernel) -> None:
    assert (kernel.ask(0x80, 6, 0x0100, 0, 64) or b"")[:2] == b"\x12\x01"
    whole = kernel.ask(0x80, 6, 0x0200, 0, 4096) or b""
    assert struct.unpack_from("<H", whole, 2)[0] == len(whole)
    parts = []
    while whole:
        parts.append(whole[: whole[0]])
        whole = whole[whole[0] :]
    assert all(len(part) == part[0] for part in parts)
    control = [part for part in parts if part[1] == 0x24][:3]
    assert struct.unpack_from("<H", control[0], 5)[0] == sum(map(len, control))
    streaming = [part for part in parts if part[1] == 0x24][3:]
    assert struct.unpack_from("<H", streaming[0], 4)[0] == sum(map(len, streaming))
    assert (kernel.ask(0x80, 6, 0x0302, 0, 64) or b"")[2:].decode("utf-16-le") == "Webcam"
    assert kernel.ask(0x80, 6, 0x0600, 0, 10) is None  # no other speed


def test_it_delivers_the_current_photo_in_the_negotiated_format(
    kernel: Kernel, camera: Webcam
) -> None:
    assert kernel.negotiate(1)[2] == 1
    assert camera.format == "MJPG"
    for photo in (GRAY, WHITE):
        camera.show(photo)
        kernel.frame()  # may still show the previous photo
        decoded = cv2.imdecode(np.frombuffer(kernel.frame(), np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert np.abs(decoded.astype(int) - photo).max() < 4
    kernel.negotiate(2)
    assert camera.format == "BGR3"
    kernel.frame()
    assert kernel.frame() == WHITE.tobytes()


def test_a_transfer_can_be_unlinked_and_the_cable_pulled(port: Port) -> None:
    before = Kernel(port)
    with before.line:
        head = struct.pack(">5I", UNLINK, 7, 0, 0, 0)
        before.line.sendall(head + struct.pack(">I24x", 6))  # completed before
        assert before.answer(inwards=False) == (7, 0, b"")
        port.pull()
        assert before.read(1) == b""
    after = Kernel(port)
    with after.line:
        assert after.ask(0x80, 0, 0, 0, 2) == b"\0\0"
