"""Features as int8: a quarter of the memory, and the same nearest neighbors.

A row is scaled so that its largest value becomes 127. Only the direction of a row matters to the
cosine, so the scale is not stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import EngineError

Floats = NDArray[np.float32]
QuantizedFeatures = NDArray[np.int8]
LARGEST = 127


def quantize(features: NDArray[Any]) -> QuantizedFeatures:
    """Return float features [N, F] as int8 [N, F]; a row of zeros stays zero.

    Raises `EngineError` if a value is not finite.
    """
    if not np.isfinite(features).all():
        raise EngineError(
            "the network returned features that are not finite numbers",
            remedy="copy the model file again",
        )
    largest = np.abs(features).max(axis=-1, keepdims=True)
    scaled = np.rint(features / np.where(largest > 0, largest, 1) * LARGEST)
    quantized: QuantizedFeatures = scaled.astype(np.int8)
    return quantized


def unit(features: NDArray[Any]) -> Floats:
    """Return features [..., F] scaled to length 1, float32; a row of zeros stays zero."""
    rows = features.astype(np.float32, copy=False)
    length = np.sqrt(np.einsum("...i,...i->...", rows, rows))[..., np.newaxis]
    return (rows / np.where(length > 0, length, 1)).astype(np.float32, copy=False)
