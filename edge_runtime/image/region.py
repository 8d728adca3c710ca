"""A rectangular part of a camera's picture."""

from __future__ import annotations

from typing import NamedTuple

from edge_runtime.image import Image
from edge_runtime.image.change_gate import CELLS
from edge_runtime.image.lazy_jpeg import Picture

LEAST_PREVIEW = CELLS // 2
"""Smallest side of a part of a preview that the change gate can use, in pixels."""


class Area(NamedTuple):
    """A rectangle, in shares of the picture's width and height, 0 to 1."""

    left: float
    top: float
    width: float
    height: float

    def of(self, image: Image) -> Image:
        """Return this part of `image` (uint8 H x W x 3), at least one pixel, without a copy."""
        height, width = image.shape[:2]
        left = min(round(self.left * width), width - 1)
        top = min(round(self.top * height), height - 1)
        right = max(round((self.left + self.width) * width), left + 1)
        bottom = max(round((self.top + self.height) * height), top + 1)
        return image[top:bottom, left:right]


class PartOfPicture(Picture):
    """The part of a picture that lies in an area. It is decoded only when the whole picture is."""

    def __init__(self, whole: Picture, area: Area) -> None:
        self._whole, self._area = whole, area

    @property
    def image(self) -> Image:
        """See `Picture.image`."""
        return self._area.of(self._whole.image)

    @property
    def preview(self) -> Image | None:
        """See `Picture.preview`; None if this part of the preview is too small for the gate."""
        whole = self._whole.preview
        part = None if whole is None else self._area.of(whole)
        return part if part is not None and min(part.shape[:2]) >= LEAST_PREVIEW else None

    @property
    def encoded(self) -> bool:
        """See `Picture.encoded`."""
        return self._whole.encoded
