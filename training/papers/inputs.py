"""Photos as batches of input tensors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edge_runtime.image.preprocess import preprocess
from training.data.input_tensor import Floats, to_input
from training.data.pixel_cache import PhotoSource


def clean_batch(source: PhotoSource, rows: Iterable[int], side: int) -> Floats:
    """Return the photos `rows` after the runtime's `preprocess`, float32 [N, 3, side, side]."""
    return np.concatenate([to_input(preprocess(source[int(row)], side)) for row in rows])
