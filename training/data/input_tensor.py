"""Convert pixels to the input tensor of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.image.preprocess import normalize
from edge_runtime.model import InputSpec

Floats = NDArray[np.float32]


def to_input(square: NDArray[np.uint8]) -> Floats:
    """Convert uint8 S x S x 3 BGR to float32 [1, 3, S, S] RGB: value = pixel / 127.5 - 1."""
    tensor = np.empty((1, 3, *square.shape[:2]), np.float32)
    normalize(square, InputSpec(size=square.shape[0]), tensor[0])
    return tensor
