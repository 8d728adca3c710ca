"""Preprocessing: resize an image of any size to the network's input. Defined only here.

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
