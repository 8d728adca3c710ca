"""A network in a row of layers: read from an ONNX file, and run in numpy.

Supported are convolutions and dense layers with the activation behind them, poolings and the step
from a map to a vector: MobileNet-v1 and AlexNet with a hash layer. All maps are squares.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_runtime.errors import ModelInvalidError

Floats = NDArray[np.float32]
DENSE, DEPTHWISE, MAX_POOL, MEAN_POOL, FLATTEN = (
    "dense", "depthwise", "max pool", "mean pool", "flatten",
)  # fmt: skip
_REMEDY = "give an fp32 model of training/"


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


def read_network(path: Path) -> Network:
    """Read an fp32 ONNX file; raises ModelInvalidError, which names a node that is not supported.

    What follows the first output of the graph, such as a second output, is left out.
    """
    model = onnx.load(path)
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    image = model.graph.input[0].type.tensor_type.shape.dim
    channels, size = image[1].dim_value, image[2].dim_value
    layers: list[Layer] = []
    for node in model.graph.node:
        found = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        last = layers[-1] if layers else Layer("", 0, channels, 0, size)
        if node.op_type in ("Relu", "Clip", "Sigmoid") and layers:
            names = {"Relu": "relu", "Clip": "relu6", "Sigmoid": "sigmoid"}
            layers[-1] = replace(last, activation=names[node.op_type])
        elif node.op_type == "Conv":
            layers.append(_convolution(node, found, arrays, last))
        elif node.op_type == "MaxPool":
            window, stride = found["kernel_shape"][0], found["strides"][0]
            made = (last.out_size - window) // stride + 1
            layers.append(
                Layer(MAX_POOL, last.outputs, last.outputs, last.out_size, made, window, stride)
            )
        elif node.op_type == "GlobalAveragePool":
            side = last.out_size
            layers.append(Layer(MEAN_POOL, last.outputs, last.outputs, side, 1, side, side))
        elif node.op_type == "Flatten":
            if last.out_size > 1:
                count = last.outputs * last.out_size**2
                layers.append(Layer(FLATTEN, last.outputs, count, last.out_size, 1))
        elif node.op_type == "Gemm":
            weight, bias = arrays[node.input[1]], arrays[node.input[2]]
            weight = weight if found.get("transB") else weight.T
            layers.append(
                Layer(
                    DENSE, weight.shape[1], weight.shape[0], 1, 1,
                    weight=weight[:, :, None, None], bias=bias, name=node.input[1],
                )
            )  # fmt: skip
        else:
            raise ModelInvalidError(
                f'{node.op_type} "{node.output[0]}" is not supported', where=path, remedy=_REMEDY
            )
        if node.output[0] == model.graph.output[0].name:
            break
    return Network(tuple(layers), channels, size)


def _convolution(
    node: onnx.NodeProto, found: dict[str, Any], arrays: dict[str, Floats], last: Layer
) -> Layer:
    weight, bias = arrays[node.input[1]], arrays[node.input[2]]
    stride, groups = found.get("strides", [1])[0], found.get("group", 1)
    pads = found.get("pads", [0, 0, 0, 0])
    window = weight.shape[2]
    made = (last.out_size + pads[0] + pads[2] - window) // stride + 1
    depthwise = groups == last.outputs and groups > 1
    return Layer(
        DEPTHWISE if depthwise else DENSE, last.outputs, weight.shape[0], last.out_size, made,
        window, stride, pads[0], groups, "", weight, bias, node.input[1],
    )  # fmt: skip


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
