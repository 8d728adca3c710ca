"""A hash layer that was fitted to a gallery: bits from features.

It has the form of the paper's layer, sigmoid(W x + b) > 0.5 (Qi et al. 2017, equation 2), which is
W x + b > 0. The features are scaled to length 1 first, so that int8 and float features agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, pack
from edge_runtime.fitting.quantized import Floats, unit


@dataclass(frozen=True, eq=False)
class HashLayer:
    """Weights of a fitted layer with K bits for F features."""

    weight: Floats
    """float32 [K, F]"""
    bias: Floats
    """float32 [K]"""

    @property
    def bits(self) -> int:
        """K, the length of a code."""
        return len(self.bias)

    def logits(self, features: NDArray[Any]) -> Floats:
        """Return W x + b, float32 [..., K], of features [..., F]."""
        sums: Floats = unit(features) @ self.weight.T + self.bias
        return sums

    def codes(self, features: NDArray[Any]) -> Code:
        """Return the packed codes, uint64 [..., W], of features [..., F]."""
        return pack((self.logits(features) > 0).astype(np.uint8))

    def to_bytes(self) -> bytes:
        """Return the weights and then the biases, little-endian float32."""
        return b"".join(part.astype("<f4").tobytes() for part in (self.weight, self.bias))

    @classmethod
    def from_bytes(cls, data: bytes, bits: int) -> HashLayer:
        """Return the layer that `to_bytes` stored; raises ValueError if the size does not fit."""
        values = np.frombuffer(data, "<f4").astype(np.float32)
        if bits < 1 or len(values) < 2 * bits or len(values) % bits:
            raise ValueError(f"{len(values)} values are not a layer of {bits} bits")
        layer = cls(values[:-bits].reshape(bits, -1), values[-bits:])
        if not np.isfinite(values).all():
            raise ValueError("a weight is not a finite number")
        return layer
