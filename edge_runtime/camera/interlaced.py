"""Decode interlaced video, which OpenCV with FFmpeg 8 delivers without having converted it.

OpenCV still reads the packets of the file or stream. FFmpeg's own libraries, which OpenCV has
loaded, decode them, and convert one field of each interlaced frame: two fields show two instants,
and together a thing that moves has a comb at its edges.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_void_p
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.image import Image

FFMPEG_8 = 60
"""The major version of libavutil. Each major version may lay out its structures differently."""
_DECODERS = {"h264": b"h264", "mpg2": b"mpeg2video"}
"""By the code of OpenCV. The packets of these contain all that a decoder needs."""
_INTERLACED = 1 << 3
_BGR24 = 3
_BICUBIC = 4
_PLANES = 8
_VECTOR = 64
"""Pixels."""


class _Frame(ctypes.Structure):
    """The first part of FFmpeg's AVFrame."""

    _fields_ = (
        ("data", c_void_p * _PLANES),
        ("stride", c_int * _PLANES),
        ("extended_data", c_void_p),
        ("width", c_int),
        ("height", c_int),
        ("samples", c_int),
        ("format", c_int),
        ("_between", c_int * 39),
        ("flags", c_int),
    )


class _Packet(ctypes.Structure):
    """The first part of FFmpeg's AVPacket."""

    _fields_ = (
        ("buffer", c_void_p),
        ("times", ctypes.c_int64 * 2),
        ("data", c_void_p),
        ("size", c_int),
    )


@cache
def ffmpeg_library(name: str) -> ctypes.CDLL | None:
    """Return FFmpeg's library `name` that OpenCV has loaded, if it is a library of its own."""
    try:
        maps = Path("/proc/self/maps").read_text()
        found = re.search(rf"\s(/.*/lib{name}[^/\n]*)$", maps, re.MULTILINE)
        return ctypes.CDLL(found[1]) if found else None
    except OSError:
        return None


def _function(
    library: ctypes.CDLL, name: str, result: type | None, arguments: Sequence[type]
) -> Callable[..., int]:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function  # type: ignore[no-any-return]


class _Api:
    """The functions of FFmpeg that decoding needs."""

    def __init__(self, util: ctypes.CDLL, codec: ctypes.CDLL, scale: ctypes.CDLL) -> None:
        frame, packet, handle = POINTER(_Frame), POINTER(_Packet), c_void_p
        self.new_frame = _function(util, "av_frame_alloc", frame, ())
        self.free_frame = _function(util, "av_frame_free", None, (POINTER(frame),))
        self.find_decoder = _function(codec, "avcodec_find_decoder_by_name", handle, (c_char_p,))
        self.new_decoder = _function(codec, "avcodec_alloc_context3", handle, (handle,))
        self.open_decoder = _function(codec, "avcodec_open2", c_int, (handle, handle, handle))
        self.free_decoder = _function(codec, "avcodec_free_context", None, (POINTER(handle),))
        self.new_packet = _function(codec, "av_packet_alloc", packet, ())
        self.free_packet = _function(codec, "av_packet_free", None, (POINTER(packet),))
        self.fill_packet = _function(codec, "av_new_packet", c_int, (packet, c_int))
        self.clear_packet = _function(codec, "av_packet_unref", None, (packet,))
        self.send = _function(codec, "avcodec_send_packet", c_int, (handle, packet))
        self.receive = _function(codec, "avcodec_receive_frame", c_int, (handle, frame))
        self.converter = _function(
            scale,
            "sws_getCachedContext",
            handle,
            (handle, *(c_int,) * 7, handle, handle, handle),
        )
        self.free_converter = _function(scale, "sws_freeContext", None, (handle,))
        rows = POINTER(c_void_p), POINTER(c_int)
        self.convert = _function(scale, "sws_scale", c_int, (handle, *rows, c_int, c_int, *rows))


@cache
def _api() -> _Api | None:
    """Return the functions of FFmpeg, or None if it is not a version that is known."""
    libraries = [ffmpeg_library(name) for name in ("avutil", "avcodec", "swscale")]
    util, codec, scale = libraries
    if util is None or codec is None or scale is None or util.avutil_version() >> 16 != FFMPEG_8:
        return None
    return _Api(util, codec, scale)


def decodable(capture: cv2.VideoCapture) -> bool:
    """Return whether `InterlacedCapture` can decode what `capture` reads."""
    return _codec(capture) in _DECODERS and _api() is not None


def _codec(capture: cv2.VideoCapture) -> str:
    return int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1").lower()


class InterlacedCapture:
    """Decodes the packets of `capture`, which must be open and at its first frame.

    It has those methods of `cv2.VideoCapture` that a source uses. Used from one thread.
    """

    def __init__(self, capture: cv2.VideoCapture) -> None:
        api = _api()
        assert api is not None
        self._api, self._capture = api, capture
        decoder = api.find_decoder(_DECODERS[_codec(capture)])
        capture.set(cv2.CAP_PROP_FORMAT, -1)  # deliver packets
        self._decoder = c_void_p(api.new_decoder(decoder))
        self._frame, self._packet = api.new_frame(), api.new_packet()
        self._converter = c_void_p()
        self._ended = api.open_decoder(self._decoder, decoder, None) < 0

    def get(self, key: int) -> float:
        """Return a property of the capture."""
        return self._capture.get(key)

    def grab(self) -> bool:
        """Decode the next frame; return False at the end, or if the packets end."""
        while self._api.receive(self._decoder, self._frame) < 0:
            if self._ended:
                return False
            self._send()
        return True

    def retrieve(self) -> tuple[bool, Image]:
        """Return the frame as uint8 H x W x 3, blue first, and whether it could be converted."""
        frame = self._frame.contents  # type: ignore[attr-defined]
        width, height, step = frame.width, frame.height, 1
        # FFmpeg may write whole vectors, beyond the end of a row.
        padded = np.zeros((height + 1, -(-width // _VECTOR) * _VECTOR, 3), np.uint8)
        image = padded[:height, :width]
        stride = frame.stride
        if frame.flags & _INTERLACED and height > 1:
            step = 2
            stride = (c_int * _PLANES)(*(2 * size for size in frame.stride))
        rows = (height + step - 1) // step
        self._converter = c_void_p(
            self._api.converter(
                self._converter,
                *(width, rows, frame.format, width, height, _BGR24, _BICUBIC, None, None, None),
            )
        )
        if not self._converter:
            return False, image
        target = (c_void_p * _PLANES)(padded.ctypes.data)
        target_stride = (c_int * _PLANES)(padded.strides[0])
        done = self._api.convert(
            self._converter, frame.data, stride, 0, rows, target, target_stride
        )
        return done == height, np.ascontiguousarray(image)

    def release(self) -> None:
        """Free the memory and the capture."""
        self._capture.release()
        self._api.free_converter(self._converter)
        self._api.free_decoder(byref(self._decoder))
        self._api.free_frame(byref(self._frame))  # type: ignore[arg-type]
        self._api.free_packet(byref(self._packet))  # type: ignore[arg-type]

    def _send(self) -> None:
        """Give the decoder the next packet, or the end. An unreadable packet gives no frame."""
        read, data = self._capture.read()
        if not read:
            self._ended = True
            self._api.send(self._decoder, None)
            return
        packet = np.ascontiguousarray(data, np.uint8)
        if packet.size and self._api.fill_packet(self._packet, packet.size) >= 0:
            address = self._packet.contents.data  # type: ignore[attr-defined]
            ctypes.memmove(address, packet.ctypes.data, packet.size)
            self._api.send(self._decoder, self._packet)
            self._api.clear_packet(self._packet)
