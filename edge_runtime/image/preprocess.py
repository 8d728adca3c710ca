"""From a frame of any size to what the network sees: the one definition of the preprocessing.

Each axis that is at least twice too long is halved, again and again; what remains (a factor below
two) is one bilinear step. A photo is squashed to the square, not cropped: what lies at its edge
still counts, and both sides of a comparison are squashed alike.

Both steps are OpenCV's INTER_LINEAR_EXACT, which computes in fixed point: the same bytes come out
on every CPU, so a code made on a board equals the one made on a workstation. (INTER_AREA does not
promise that, and is several times slower.) Halving by it averages
each two pixels, so nothing aliases.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.image import Image
from edge_runtime.model import InputSpec


def preprocess(image: Image, size: int) -> Image:
    """Squash `image` (uint8 H x W x 3, BGR) to uint8 `size` x `size` x 3, BGR."""
    height, width = image.shape[:2]
    while height >= 2 * size or width >= 2 * size:
        height = height // 2 if height >= 2 * size else height
        width = width // 2 if width >= 2 * size else width
        image = _resize(image, height, width)
    if (height, width) != (size, size):
        image = _resize(image, size, size)
    return np.ascontiguousarray(image)


def normalize(image: Image, spec: InputSpec, out: NDArray[np.float32]) -> None:
    """Write the fitted `image` (uint8 S x S x 3, BGR) into `out` (float32 3 x S x S, RGB planes).

    value = pixel * scale + offset, each step rounded to float32.
    """
    scale, offset = np.float32(spec.scale), np.float32(spec.offset)
    for plane in range(3):
        np.multiply(image[..., 2 - plane], scale, out=out[plane], dtype=np.float32)
    np.add(out, offset, out=out)


def _resize(image: Image, height: int, width: int) -> Image:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)  # type: ignore[return-value]
