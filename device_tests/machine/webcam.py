"""A USB camera in Python: UVC 1.1, Motion JPEG and 24-bit BGR, over bulk transfers.

The kernel's `uvcvideo` drives it as it drives any webcam. It delivers frames of one photograph at a
time and records which format the host selected.
Source: USB Device Class Definition for Video Devices 1.1.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import cv2

from device_tests.machine.usbip import Device, StallError
from edge_runtime.image import Image

WIDTH, HEIGHT = 640, 480
NAMES = ("", "Emulated", "Webcam", "1")
"""Manufacturer, product and serial number, by string index."""
LINK = "/dev/v4l/by-id/usb-Emulated_Webcam_1-video-index0"
FORMATS = ("MJPG", "BGR3")
"""By format index, from 1."""
BGR3 = bytes.fromhex("7deb36e44f52ce119f530020af0ba770")
PAYLOAD_BYTES = 16384
"""Size of one transfer with its two-byte header: what uvcvideo requests at once."""
ENDPOINT = 0x81
GET_DESCRIPTOR, GET_STATUS = 6, 0
SET_CUR, GET_CUR, GET_LEN, GET_INFO = 0x01, 0x81, 0x85, 0x86
PROBE, COMMIT = 1, 2
NEGOTIATION = struct.Struct("<HBBI5HIIIBBBB")
"""Hint, format, frame, interval, five compression fields, frame size, payload size, clock, framing,
versions."""


class Webcam(Device):
    """A webcam that delivers the photo it is shown, at most `fps` times per second."""

    vendor, product, interfaces = 0x1D6B, 0x0102, 2

    def __init__(self, photo: Image, fps: int = 5) -> None:
        self.format = ""
        """Format of the most recently started stream."""
        self._interval = 10_000_000 // fps
        self._chosen = (1, 1, self._interval)
        self._payloads: Iterator[bytes] = iter(())
        self._due_s = 0.0
        self._parity = 0
        self.show(photo)

    def show(self, photo: Image) -> None:
        """Deliver `photo` (BGR) from the next frame on."""
        image = cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        self._pictures = {"MJPG": jpeg, "BGR3": image.tobytes()}

    def control(self, setup: bytes, data: bytes) -> bytes:
        """Answer a USB control request."""
        kind, request, value, index, _ = struct.unpack("<BBHHH", setup)
        if kind == 0x80 and request == GET_DESCRIPTOR:
            return _descriptor(value >> 8, value & 0xFF, self._interval)
        if kind & 0x60 == 0:  # standard requests: set configuration, clear endpoint
            return b"\0\0" if request == GET_STATUS else b""
        if kind & 0x1F != 1 or index & 0xFF != 1 or value >> 8 not in (PROBE, COMMIT):
            raise StallError
        if request == SET_CUR:
            self._choose(data, commit=value >> 8 == COMMIT)
            return b""
        if request == GET_LEN:
            return struct.pack("<H", NEGOTIATION.size)
        if request == GET_INFO:
            return b"\3"
        return self._offer()

    def bulk(self, limit: int) -> bytes:
        """Return the next payload of the stream."""
        payload = next(self._payloads, None)
        if payload is None:
            self._payloads = self._frame(limit)
            payload = next(self._payloads)
        return payload

    def _frame(self, limit: int) -> Iterator[bytes]:
        """Yield the payloads of one frame. The first waits until the frame is due."""
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._due_s = max(self._due_s, time.monotonic()) + self._chosen[2] / 1e7
        data = self._pictures[self.format or FORMATS[0]]
        self._parity ^= 1
        capacity = limit - 2
        for start in range(0, len(data), capacity):
            last = start + capacity >= len(data)
            yield bytes((2, 0x80 | last << 1 | self._parity)) + data[start : start + capacity]

    def _choose(self, data: bytes, *, commit: bool) -> None:
        _, format_, frame, interval = struct.unpack("<HBBI", data[:8])
        known = format_ if 1 <= format_ <= len(FORMATS) else 1
        self._chosen = (known, frame or 1, max(interval, self._interval))
        if commit:
            self.format = FORMATS[known - 1]
            self._payloads = iter(())

    def _offer(self) -> bytes:
        format_, frame, interval = self._chosen
        size = WIDTH * HEIGHT * 3
        none = (0,) * 5
        return NEGOTIATION.pack(
            *(1, format_, frame, interval, *none, size, PAYLOAD_BYTES, 48_000_000, 3, 0, 0, 0)
        )


def _descriptor(kind: int, number: int, interval: int) -> bytes:
    if kind == 1:
        head = struct.pack("<BBHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64)
        return head + struct.pack("<HHHBBBB", Webcam.vendor, Webcam.product, 0x0100, 1, 2, 3, 1)
    if kind == 2:
        body = _control_interface() + _streaming_interface(interval)
        return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body
    if kind == 3 and number < len(NAMES):
        text = NAMES[number].encode("utf-16-le") if number else b"\x09\x04"
        return bytes((2 + len(text), 3)) + text
    raise StallError


def _control_interface() -> bytes:
    camera = struct.pack("<BBBBHBBHHHB3s", 18, 0x24, 2, 1, 0x0201, 0, 0, 0, 0, 0, 3, bytes(3))
    output = struct.pack("<BBBBHBBB", 9, 0x24, 3, 2, 0x0101, 0, 1, 0)
    length = 13 + len(camera) + len(output)
    return (
        struct.pack("<8B", 8, 0x0B, 0, 2, 0x0E, 3, 0, 0)  # both interfaces belong to one camera
        + struct.pack("<9B", 9, 4, 0, 0, 0, 0x0E, 1, 0, 0)
        + struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0110, length, 48_000_000, 1, 1)
        + camera
        + output
    )


def _streaming_interface(interval: int) -> bytes:
    color_matching = struct.pack("<6B", 6, 0x24, 0x0D, 1, 1, 4)
    formats = (
        struct.pack("<11B", 11, 0x24, 6, 1, 1, 1, 1, 0, 0, 0, 0)
        + _frame_descriptor(7, interval)
        + color_matching
        + struct.pack("<5B16s6B", 27, 0x24, 4, 2, 1, BGR3, 24, 1, 0, 0, 0, 0)
        + _frame_descriptor(5, interval)
        + color_matching
    )
    length = 15 + len(formats)
    return (
        struct.pack("<9B", 9, 4, 1, 0, 1, 0x0E, 2, 0, 0)
        + struct.pack("<BBBBHBBBBBBBBB", 15, 0x24, 1, 2, length, ENDPOINT, 0, 2, 0, 0, 0, 1, 0, 0)
        + formats
        + struct.pack("<BBBBHB", 7, 5, ENDPOINT, 2, 512, 0)
    )


def _frame_descriptor(kind: int, interval: int) -> bytes:
    size = WIDTH * HEIGHT * 3
    bits = size * 8 * 10_000_000 // interval
    head = struct.pack("<5BHH", 30, 0x24, kind, 1, 0, WIDTH, HEIGHT)
    return head + struct.pack("<IIIIBI", bits, bits, size, interval, 1, interval)
