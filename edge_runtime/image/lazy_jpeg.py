"""Camera pictures that are decoded only when needed.

Most cameras send JPEGs. While the scene is unchanged, nothing needs the full image. A JPEG is then
decoded at a fraction of its size, which skips nearly all of the inverse transform and color
conversion. The scene-change gate uses this preview.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image
from edge_runtime.image.change_gate import CELLS
from edge_runtime.image.decode import ENOUGH_SIDE, reduction
from edge_runtime.image.jpeg_frame import MAX_DECODED_PIXELS, JpegFrame, is_cut, read_frame
from edge_runtime.image.pixels import decode_reduced

HUFFMAN_TABLE = b"\xff\xc4"
"""Begins a table that some cameras leave out. Decoders of Motion JPEG know it, browsers do not."""
MOST_SENT_BYTES = 1 << 17
"""Larger JPEGs are encoded again, as they would fill a slow network."""


class Picture:
    """A decoded picture: uint8 H x W x 3, BGR."""

    def __init__(self, image: Image) -> None:
        self._image: Image | None = image

    @property
    def image(self) -> Image:
        """The full image, uint8 H x W x 3, BGR; raises `PhotoError` if it cannot be decoded."""
        assert self._image is not None
        return self._image

    @property
    def preview(self) -> Image | None:
        """A small version if that is cheaper than `image`, which is not decoded yet; else None."""
        return None

    @property
    def encoded(self) -> bool:
        """Whether `image` is still to be decoded."""
        return self._image is None

    def as_sent(self, longest: int) -> bytes | None:
        """Return the JPEG that the camera sent, if a browser can show it as it is.

        None if there is none, if it is large, or if a side is longer than `longest` pixels.
        """
        return None

    def usable(self, *, preview_only: bool) -> bool:
        """Decode the picture, or only its preview; return whether that succeeded."""
        try:
            image = (self.preview if preview_only else None) is None and self.image
        except PhotoError:
            return False
        return image is False or (image.ndim == 3 and image.shape[2] == 3 and min(image.shape) > 0)


class JpegPicture(Picture):
    """An encoded JPEG. Concurrent access from several threads may decode it twice, identically."""

    def __init__(self, data: bytes) -> None:
        """Wrap `data` as the camera sent it; content that is not a JPEG fails on decoding."""
        self._data = data
        self._frame: JpegFrame | None = None
        self._image = None
        self._preview: Image | None = None

    @property
    def image(self) -> Image:
        """See `Picture.image`; a large JPEG is decoded at a reduced size, as photos are."""
        if self._image is None:
            self._image = self._decode(ENOUGH_SIDE)
        return self._image

    @property
    def preview(self) -> Image | None:
        """See `Picture.preview`; raises `PhotoError`."""
        if self._preview is None and self._image is None:
            self._preview = self._decode(CELLS)
        return self._preview

    def as_sent(self, longest: int) -> bytes | None:
        """See `Picture.as_sent`; None before the picture was decoded once, as it may be damaged."""
        frame = self._frame
        if frame is None or max(frame.width, frame.height) > longest or frame.several_scans:
            return None
        complete = HUFFMAN_TABLE in frame.data[: frame.scan]
        return frame.data if complete and len(frame.data) <= MOST_SENT_BYTES else None

    def _decode(self, side: int) -> Image:
        """Decode at the largest reduction with sides of at least `side`; raises `PhotoError`."""
        first = self._frame is None
        frame = self._frame = self._frame or read_frame(self._data)
        scale = reduction(frame.width, frame.height, side)
        if frame.width * frame.height > MAX_DECODED_PIXELS * scale * scale:
            raise PhotoError(
                f"JPEG of {frame.width} x {frame.height} pixels is too long and narrow",
                where="frame",
            )
        try:
            image = decode_reduced(np.frombuffer(frame.data, np.uint8), scale)
        except cv2.error:
            image = None
        if image is None:
            raise PhotoError("damaged JPEG: cannot be decoded", where="frame")
        if first and is_cut(frame, image):
            raise PhotoError("damaged JPEG: a part of the picture is missing", where="frame")
        return image
