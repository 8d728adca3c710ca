"""The intermediate representation: a hash network as a list of layers with their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model import ModelInfo

Weights = NDArray[np.float32]


def _empty(dtype: str) -> Callable[[], NDArray[Any]]:
    return lambda: np.empty(0, dtype)


@dataclass
class QuantizedLayer:
    """The integers of a layer. compile/kernels/quantized.py defines how they are used."""

    scale: Weights
    """[O]: a byte of the output represents scale * (byte - zero)."""
    zero: int
    input_zero: int = 0
    """The zero of the layer's input, which fills its border."""
    float_output: bool = False
    """The output stays in float32."""
    weight: NDArray[Any] = field(default_factory=_empty("int8"))
    """Pointwise [O, I]. Depthwise [O, window, window], float32 if the input is. Stem [O, 3, window,
    window], or empty if the stem is computed in float32."""
    factor: NDArray[Any] = field(default_factory=_empty("int32"))
    """[O]: int32; depthwise int16; float32 for a stem whose output is float32."""
    bias: NDArray[Any] = field(default_factory=_empty("int32"))
    """[O]: int32; float32 for a depthwise convolution computed in float32."""
    residual: NDArray[np.int32] = field(default_factory=_empty("int32"))
    """Pointwise [O]: weight of the residual."""
    offset: NDArray[np.int16] = field(default_factory=_empty("int16"))
    """Depthwise [O]."""
    shift: NDArray[np.int16] = field(default_factory=_empty("int16"))
    """Depthwise [O]."""


@dataclass
class Layer:
    """One convolution and what follows it: folded batch norm, residual sum, activation."""

    name: str
    kind: str
    """stem, depthwise or pointwise."""
    weight: Weights
    """[O, I / groups, window, window]"""
    bias: Weights
    """[O]"""
    source: int
    """Index of the layer that provides the input; -1: the picture."""
    stride: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Border of zeros: top, left, bottom, right."""
    limit: float | None = None
    """Upper end of the ReLU (infinity: plain ReLU). None: no activation."""
    residual: int | None = None
    """Index of the layer whose output is added before the activation."""
    output_range: tuple[float, float] | None = None
    """Smallest and largest value of the output, as an int8 ONNX file states them."""
    quantized: QuantizedLayer | None = None
    in_size: int = 0
    """Side of the input, pixels."""
    out_size: int = 0
    """Side of the output, pixels."""

    @property
    def window(self) -> int:
        """Side of the convolution's window."""
        return int(self.weight.shape[2])

    @property
    def outputs(self) -> int:
        """Number of output channels."""
        return int(self.weight.shape[0])

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per picture."""
        return int(self.weight.size) * self.out_size**2


@dataclass
class Network:
    """The layers in order, the hash layer, and the model's metadata."""

    model: ModelInfo
    layers: list[Layer] = field(default_factory=list)
    hash_weight: Weights = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """[K, C]"""
    hash_bias: Weights = field(default_factory=lambda: np.empty(0, np.float32))
    """[K]"""
    hash_source: int = -1
    """Index of the layer that is averaged."""
    hash_threshold: float = 0.0
    """A bit is 1 if the hash layer's sum is above this."""
    color_offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Added to red, green and blue, on top of the offset of `model.input`."""

    @property
    def is_int8(self) -> bool:
        """Whether the ONNX file was quantized to int8."""
        return any(layer.output_range is not None for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per picture."""
        return sum(layer.multiply_adds for layer in self.layers) + int(self.hash_weight.size)
