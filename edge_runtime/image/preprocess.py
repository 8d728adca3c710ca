"""Preprocessing: the views of a picture, resized to the network's input. Defined only here.

Each axis that is at least twice too long is halved repeatedly. One bilinear step covers the
remaining factor below two. An image is squashed to the square rather than cropped: its edges still
count, and both images of a comparison are squashed alike.

Both steps use OpenCV's INTER_LINEAR_EXACT, which computes in fixed point. The result is the same to
the byte on every CPU, so a code from a board equals a code from a workstation. INTER_AREA does not
guarantee this and is several times slower. Halving averages each pair of pixels, which prevents
aliasing.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.image import Image
from edge_runtime.model import InputSpec

CROP = 0.7
"""Side of a partial view, as a fraction of the picture's side."""


def preprocess(image: Image, size: int) -> Image:
    """Resize `image` (uint8 H x W x 3, BGR) to uint8 `size` x `size` x 3, ignoring its aspect."""
    height, width = image.shape[:2]
    while height >= 2 * size or width >= 2 * size:
        height = height // 2 if height >= 2 * size else height
        width = width // 2 if width >= 2 * size else width
        image = _resize(image, height, width)
    if (height, width) != (size, size):
        image = _resize(image, size, size)
    return np.ascontiguousarray(image)


def normalize(image: Image, spec: InputSpec, out: NDArray[np.float32]) -> None:
    """Write a preprocessed `image` (uint8 S x S x 3, BGR) to `out` (float32 3 x S x S, RGB planes).

    value = pixel * scale + offset, each step rounded to float32.
    """
    scale, offset = np.float32(spec.scale), np.float32(spec.offset)
    for plane in range(3):
        np.multiply(image[..., 2 - plane], scale, out=out[plane], dtype=np.float32)
    np.add(out, offset, out=out)


def _resize(image: Image, height: int, width: int) -> Image:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)  # type: ignore[return-value]


def views_of(image: Image) -> list[Image]:
    """Return the views of a picture: the whole, its middle and its four corners.

    Each is uint8 h x w x 3. The crops show what a camera sees that is nearer or points a little to
    the side. When a third of a picture is cut off, about a dozen bits of its 64-bit code change;
    with the crops enrolled, such queries are within a few bits again (docs/ARCHITECTURE.md has the
    figures).
    """
    height, width = image.shape[:2]
    tall, wide = _size(image)
    tops, lefts = (0, height - tall), (0, width - wide)
    corners = [image[y : y + tall, x : x + wide] for y in tops for x in lefts]
    return [image, middle_of(image), *corners]


def middle_of(image: Image) -> Image:
    """Return the middle of a picture, the second of its views."""
    height, width = image.shape[:2]
    tall, wide = _size(image)
    top, left = (height - tall) // 2, (width - wide) // 2
    return image[top : top + tall, left : left + wide]


def _size(image: Image) -> tuple[int, int]:
    """Return the height and width of a partial view, pixels."""
    return round(CROP * image.shape[0]), round(CROP * image.shape[1])
