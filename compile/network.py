"""A hash network as the compiler sees it: a list of layers with their weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model import ModelInfo

Weights = NDArray[np.float32]


@dataclass
class Layer:
    """One convolution with what follows it: batch norm folded, residual sum, activation."""

    name: str
    kind: str
    """stem, depthwise or pointwise."""
    weight: Weights
    """[O, I / groups, window, window]"""
    bias: Weights
    """[O]"""
    source: int
    """Index of the layer whose output it reads; -1: the picture."""
    stride: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Border of zeros: top, left, bottom, right."""
    limit: float | None = None
    """Upper end of the ReLU (infinite: plain), None: no activation."""
    residual: int | None = None
    """Index of the layer whose output is added before the activation."""
    in_size: int = 0
    """Side of the input, pixels, as is `out_size` of the output."""
    out_size: int = 0

    @property
    def window(self) -> int:
        """Side of the convolution's window."""
        return int(self.weight.shape[2])

    @property
    def outputs(self) -> int:
        """Channels out."""
        return int(self.weight.shape[0])

    @property
    def multiply_adds(self) -> int:
        """Of one picture."""
        return int(self.weight.size) * self.out_size**2


@dataclass
class Network:
    """Layers in order, the hash layer, and what the model says of itself."""

    model: ModelInfo
    layers: list[Layer] = field(default_factory=list)
    hash_weight: Weights = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """[K, C]"""
    hash_bias: Weights = field(default_factory=lambda: np.empty(0, np.float32))
    """[K]"""
    hash_source: int = -1

    @property
    def multiply_adds(self) -> int:
        """Of one picture."""
        return sum(layer.multiply_adds for layer in self.layers) + int(self.hash_weight.size)
