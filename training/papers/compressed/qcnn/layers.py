"""A network in a row of layers, run in numpy.

Supported are convolutions and dense layers with the activation behind them, poolings and the step
from a map to a vector: MobileNet-v1 and AlexNet with a hash layer. All maps are squares.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]
DENSE, DEPTHWISE, MAX_POOL, MEAN_POOL, FLATTEN = (
    "dense", "depthwise", "max pool", "mean pool", "flatten",
)  # fmt: skip


def _none() -> Floats:
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class Layer:
    """One layer. Only DENSE and DEPTHWISE have weights."""

    kind: str
    inputs: int
    outputs: int
    in_size: int
    """Side of the input in positions; 1 for a vector."""
    out_size: int
    window: int = 1
    stride: int = 1
    pad: int = 0
    """Rows of zeros above and columns on the left; as many as needed below and on the right."""
    groups: int = 1
    activation: str = ""
    """"", relu, relu6 or sigmoid."""
    weight: Floats = field(default_factory=_none)
    """[outputs, inputs / groups, window, window]"""
    bias: Floats = field(default_factory=_none)
    name: str = ""
    """The weight's name in the ONNX file."""

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of one picture."""
        return self.weight.size * self.out_size**2


@dataclass(frozen=True)
class Network:
    """Layers in order; the first reads float32 [channels, size, size]."""

    layers: tuple[Layer, ...]
    channels: int
    size: int

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of all weights and biases in float32."""
        return sum(layer.weight.nbytes + layer.bias.nbytes for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of one picture."""
        return sum(layer.multiply_adds for layer in self.layers)


def windows(layer: Layer, maps: Floats) -> Floats:
    """Return what each window of the layer sees: a view [N, C, out, out, window, window]."""
    needed = (layer.out_size - 1) * layer.stride + layer.window
    after = max(needed - layer.in_size - layer.pad, 0)
    padded = np.pad(maps, ((0, 0), (0, 0), (layer.pad, after), (layer.pad, after)))
    step = layer.stride
    seen = sliding_window_view(padded, (layer.window, layer.window), axis=(2, 3))
    return seen[:, :, ::step, ::step][:, :, : layer.out_size, : layer.out_size]


def respond(layer: Layer, maps: Floats) -> Floats:
    """Return the response of a layer, before its activation, to maps [N, C, in, in]."""
    count, side = len(maps), layer.out_size
    bias = layer.bias[:, None, None]
    if layer.kind == DENSE and layer.window == layer.stride == layer.groups == 1:
        made = layer.weight[:, :, 0, 0] @ maps.reshape(count, layer.inputs, -1)
        return made.reshape(count, -1, side, side) + bias
    if layer.kind == DENSE:
        parts = []
        each = layer.inputs // layer.groups
        for group, weight in enumerate(np.split(layer.weight, layer.groups)):
            seen = windows(layer, maps[:, group * each : (group + 1) * each])
            columns = seen.transpose(0, 2, 3, 1, 4, 5).reshape(count * side**2, -1)
            made = columns @ weight.reshape(len(weight), -1).T
            parts.append(made.reshape(count, side, side, -1).transpose(0, 3, 1, 2))
        return np.concatenate(parts, axis=1) + bias
    if layer.kind == FLATTEN:
        return maps.reshape(count, layer.outputs, 1, 1)
    seen = windows(layer, maps)
    if layer.kind == DEPTHWISE:
        made = np.zeros((count, layer.outputs, side, side), np.float32)
        for y in range(layer.window):
            for x in range(layer.window):
                made += seen[..., y, x] * layer.weight[:, 0, y, x, None, None]
        return made + bias
    pooled: Floats = seen.max((4, 5)) if layer.kind == MAX_POOL else seen.mean((4, 5))
    return pooled


def activate(layer: Layer, response: Floats) -> Floats:
    """Apply the activation of a layer to its response."""
    if layer.activation == "sigmoid":
        bounded = 1 / (1 + np.exp(-np.clip(response, -80, 80)))
        return bounded.astype(np.float32)
    if layer.activation == "relu":
        return np.maximum(response, 0)
    return np.clip(response, 0, 6) if layer.activation == "relu6" else response


def run(network: Network, pictures: Floats) -> Floats:
    """Return the output [N, outputs] for pictures [N, channels, size, size]."""
    for layer in network.layers:
        pictures = activate(layer, respond(layer, pictures))
    return pictures.reshape(len(pictures), -1)
