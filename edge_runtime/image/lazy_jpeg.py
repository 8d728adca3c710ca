"""A camera's picture, which need not be decoded before it is known that it is wanted.

Most cameras send JPEGs. Of a scene that has not changed nobody needs the pixels: a JPEG is then
decoded at a fraction of its size, which leaves out nearly all of the transform and of the colour
work, and the scene-change gate looks at that.
"""

from __future__ import annotations

import numpy as np

from edge_runtime.errors import PhotoError
from edge_runtime.image import Image
from edge_runtime.image.change_gate import CELLS
from edge_runtime.image.decode import ENOUGH_SIDE, MAX_PIXELS, decode_reduced, reduction
from edge_runtime.image.header import read_header

END = b"\xff\xd9"


class Picture:
    """Pixels that are there: uint8 H x W x 3, BGR."""

    def __init__(self, image: Image) -> None:
        self._image: Image | None = image

    @property
    def image(self) -> Image:
        """All of it, uint8 H x W x 3, BGR; raises `PhotoError` if it cannot be decoded."""
        assert self._image is not None
        return self._image

    @property
    def preview(self) -> Image | None:
        """A small version, where that is cheaper than `image`, which has not been asked for yet."""
        return None

    @property
    def encoded(self) -> bool:
        """Whether `image` has yet to be decoded."""
        return self._image is None

    def usable(self, *, preview_only: bool) -> bool:
        """Decode it (`preview_only`: only as far as `preview` needs); whether it is a picture."""
        try:
            image = (self.preview if preview_only else None) is None and self.image
        except PhotoError:
            return False
        return image is False or (image.ndim == 3 and image.shape[2] == 3 and min(image.shape) > 0)


class JpegPicture(Picture):
    """A JPEG. What several threads ask for at once may be decoded twice, to the same pixels."""

    def __init__(self, data: bytes) -> None:
        """`data`: as the camera sent it; whatever else it is has no pixels."""
        self._data = data
        self._image = None
        self._preview: Image | None = None

    @property
    def image(self) -> Image:
        """See `Picture`; a large one is decoded at a fraction of its size, as photos are."""
        if self._image is None:
            self._image = self._decode(ENOUGH_SIDE)
        return self._image

    @property
    def preview(self) -> Image | None:
        """See `Picture`; raises `PhotoError`."""
        if self._preview is None and self._image is None:
            self._preview = self._decode(CELLS)
        return self._preview

    def _decode(self, side: int) -> Image:
        header = read_header(self._data, "frame")
        if header.kind != "JPEG" or not 0 < header.width * header.height <= MAX_PIXELS:
            raise PhotoError(f"no {header.kind} that can be used", where="frame")
        data = self._data if header.whole else self._data + END  # some cameras never send one
        image = decode_reduced(
            np.frombuffer(data, np.uint8), reduction(header.width, header.height, side)
        )
        if image is None:
            raise PhotoError("damaged JPEG, it cannot be decoded", where="frame")
        return image
