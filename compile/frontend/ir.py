"""A hash network as the compiler sees it: a list of layers with their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model import ModelInfo

Weights = NDArray[np.float32]


def _none(dtype: str) -> Callable[[], NDArray[Any]]:
    return lambda: np.empty(0, dtype)


@dataclass
class Quantised:
    """A layer in integers; compile/kernels/quantized.py says how they are computed with."""

    scale: Weights
    """[O]: a byte of the output stands for scale * (byte - zero)."""
    zero: int
    border: int = 0
    """The zero of its input."""
    real: bool = False
    """Its output stays in float32."""
    weight: NDArray[Any] = field(default_factory=_none("int8"))
    """Pointwise [O, I], depthwise [O, window, window] (float32, where its input is), stem [O, 3,
    window, window] or none: the stem is computed in float32."""
    factor: NDArray[Any] = field(default_factory=_none("int32"))
    """[O]: int32, depthwise int16; of a stem whose output is in float32, float32."""
    bias: NDArray[Any] = field(default_factory=_none("int32"))
    """[O]: int32, of a depthwise convolution in float32 too."""
    residual: NDArray[np.int32] = field(default_factory=_none("int32"))
    """Pointwise [O]: the weight of what is added."""
    offset: NDArray[np.int16] = field(default_factory=_none("int16"))
    """Depthwise [O], as is `shift`."""
    shift: NDArray[np.int16] = field(default_factory=_none("int16"))


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
    span: tuple[float, float] | None = None
    """The least and the most that its output stands for in an int8 ONNX file."""
    quantised: Quantised | None = None
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
    hash_threshold: float = 0.0
    """A weighted sum of the hash layer above it is a 1."""
    tint: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Of red, green and blue, added to the offset that `model.input` has for all three."""

    @property
    def in_bytes(self) -> bool:
        """Whether the ONNX file is one of int8."""
        return any(layer.span is not None for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of one picture."""
        return sum(layer.multiply_adds for layer in self.layers) + int(self.hash_weight.size)
