"""Import an ONNX file as a `Network`: check it, fix its shape, fold batch norms.

Supported are MobileNet-like hash networks of any width, input size and number of bits: one
convolution over the picture, then depthwise and pointwise convolutions (with residual sums), each
with or without batch norm and ReLU or ReLU6, then an average over all pixels and one dense layer
(compile/frontend/hash_head.py). A border may be a separate Pad node. Scales and shifts of the
picture's channels (such as a mean and a deviation per color) or of a convolution's channels may be
separate nodes, too. Transposes that cancel out are resolved. In an int8 file (QuantizeLinear and
DequantizeLinear nodes) weights become float32, and the range of each activation is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from compile.frontend.conv_node import (
    NO_PADS,
    Pads,
    activation_limit,
    add_pads,
    byte_range,
    conv_kind,
    conv_pads,
    pad_sizes,
)
from compile.frontend.hash_head import HashHead
from compile.frontend.input_affine import COLORS, ColorAffine
from compile.frontend.ir import Layer, Network
from compile.frontend.onnx_graph import Affine, Graph
from edge_runtime.errors import ModelInvalidError
from edge_runtime.model import check_model, parse_metadata
from edge_runtime.onnx_file.checks import EXPORT_AGAIN
from edge_runtime.shortage import shortage

AXES = (0, 1, 2, 3)
"""Picture, channel, row, column: the axes of a tensor that is not transposed."""


def read_network(path: Path) -> Network:
    """Read the network in the ONNX file `path`.

    Raises `ModelNotFoundError`, `ModelInvalidError`, and `NetworkUnsupportedError`, which names the
    node.
    """
    model_id, size_bytes = check_model(path)
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # the errors of protobuf and onnx share no base
        raise shortage(error, path) or ModelInvalidError(
            f"onnx {onnx.__version__} refuses it: {str(error)[:300]}",
            where=path,
            remedy=EXPORT_AGAIN,
        ) from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    info = parse_metadata(metadata, path=path, model_id=model_id, size_bytes=size_bytes)
    graph = Graph(model.graph, str(path), features=info.features > 0)
    with np.errstate(invalid="ignore", over="ignore"):  # _check_finite finds it
        network = _Reader(graph, Network(info)).read()
    _check_finite(network, path)
    return network


def _check_finite(network: Network, path: Path) -> None:
    """Refuse weights that folding made infinite or no number, as a negative variance does."""
    arrays = {layer.name: (layer.weight, layer.bias) for layer in network.layers}
    for name, values in arrays.items():
        if not all(np.isfinite(each).all() for each in values):
            raise ModelInvalidError(
                f'the weights "{name}", with the scales after them, are not all finite numbers',
                where=path,
                remedy="train or export the model again",
            )


@dataclass(frozen=True)
class _Value:
    """The content and layout of a tensor."""

    layer: int = -1
    """Index of the layer that computes it; -1: the picture."""
    axes: tuple[int, ...] = AXES
    """Which of AXES each of its axes is."""
    border: Pads = NO_PADS
    """The border of zeros that it already has."""
    colors: ColorAffine | None = None
    """For the picture: how its channels were changed."""

    @property
    def is_transposed(self) -> bool:
        return self.axes != AXES


class _Reader:
    """Reads the nodes that the hash needs, in order, up to the average."""

    def __init__(self, graph: Graph, network: Network) -> None:
        self.graph, self.network, self.head = graph, network, HashHead(graph, network)
        self.values: dict[str, _Value] = {}
        """Tensor name -> value."""

    def read(self) -> Network:
        size = self.network.model.input.size
        image = self.graph.inputs[0]
        shape = [d.dim_value or d.dim_param for d in image.type.tensor_type.shape.dim]
        if shape != [1, COLORS, size, size]:
            raise ModelInvalidError(
                f"the input shape must be [1, 3, {size}, {size}] with no free dimension, "
                f"got {shape}",
                where=self.graph.where,
                remedy="export it with a fixed shape",
            )
        self.values[image.name] = _Value(colors=ColorAffine())
        for node in self.graph.walk():
            self._visit(node)
        self.head.check()
        return self.network

    def _visit(self, node: onnx.NodeProto) -> None:
        kind, out = node.op_type, node.output[0]
        known = [name for name in node.input if name in self.values]
        if later := next((name for name in node.input if self.head.knows(name)), None):
            if kind in ("QuantizeLinear", "DequantizeLinear"):
                self.head.alias(later, out)
            else:
                self.head.visit(node, later)
        elif not known:
            raise self._unsupported(node)
        elif len(known) == 1 and (change := self._affine(node, known[0])):
            self._change(node, known[0], change)
        else:
            self._visit_body(node, known)

    def _visit_body(self, node: onnx.NodeProto, known: list[str]) -> None:
        """Read a node whose inputs `known` are the picture or outputs of layers."""
        kind, name, out = node.op_type, known[0], node.output[0]
        value = self.values[name]
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            self._quantization(node)
        elif kind in ("Identity", "Dropout"):
            self.values[out] = value
        elif kind == "Transpose":
            order = self.graph.attributes(node).get("perm", value.axes[::-1])
            self.values[out] = replace(value, axes=tuple(value.axes[axis] for axis in order))
        elif kind == "Gather" and name == node.input[0] and value.colors is not None:
            self._gather(node, value, value.colors)
        elif kind in ("GlobalAveragePool", "AveragePool", "ReduceMean") and self._averages_all(
            node, value
        ):
            if value.layer < 0 or any(value.border):
                raise self.graph.unsupported(node, "it does not follow a convolution")
            self.head.pooled[out] = value.layer
        elif not value.is_transposed and kind == "Pad":
            border = add_pads(value.border, pad_sizes(self.graph, node))
            self.values[out] = replace(value, border=border)
        elif not value.is_transposed and kind == "Conv" and name == node.input[0]:
            self.values[out] = _Value(self._convolution(node, value))
        elif kind in ("Relu", "Clip") and self._is_unread_output(name):
            self._layers[value.layer].limit = activation_limit(self.graph, node)
            self.values[out] = value
        elif (
            kind == "Add"
            and len(known) == 2
            and not any(self.values[each].is_transposed for each in known)
        ):
            self.values[out] = _Value(self._residual(node))
        else:
            raise self._unsupported(node)

    def _gather(self, node: onnx.NodeProto, value: _Value, colors: ColorAffine) -> None:
        """Select or reorder color channels of the picture."""
        axis = self.graph.attributes(node).get("axis", 0)
        if value.axes[axis] != 1:
            raise self.graph.unsupported(node, "it must select color channels")
        channels = self.graph.floats(node.input[1]).reshape(-1).astype(int).tolist()
        self.values[node.output[0]] = replace(value, colors=colors.select(channels))

    def _affine(self, node: onnx.NodeProto, name: str) -> Affine | None:
        value = self.values[name]
        axis = value.axes.index(1) - len(AXES)
        if value.layer >= 0:
            channels = self._layers[value.layer].outputs
        else:
            channels = len(value.colors.order) if value.colors else COLORS
        return self.graph.affine(node, name, axis, channels)

    def _change(self, node: onnx.NodeProto, name: str, change: Affine) -> None:
        """Fold `change` into the layer that computes `name`, or into the picture's colors."""
        factor, shift = change
        value = self.values[name]
        if value.layer >= 0:
            layer = self._layers[value.layer]
            if (
                not self._is_unread_output(name)
                or layer.residual is not None
                or layer.output_range is not None
            ):
                raise self._unsupported(node)
            layer.weight = (layer.weight * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
            layer.bias = (layer.bias * factor + shift).astype(np.float32)
        elif any(value.border) and shift.any():
            raise self.graph.unsupported(node, "it shifts a border, which then is not zero")
        elif value.colors is not None:
            value = replace(value, colors=value.colors.then(change))
        self.values[node.output[0]] = value

    def _quantization(self, node: onnx.NodeProto) -> None:
        """Pass the input through. QuantizeLinear also states the range of a layer's output."""
        value = self.values[node.input[0]]
        self.values[node.output[0]] = value
        if node.op_type == "DequantizeLinear" or value.layer < 0:
            return
        low, high = byte_range(self.graph, node)
        layer = self._layers[value.layer]
        layer.output_range = low, high
        if low == 0 and layer.limit is None:
            layer.limit = high  # bytes clip at both ends, as a ReLU with this limit does

    def _convolution(self, node: onnx.NodeProto, value: _Value) -> int:
        weight = self.graph.floats(node.input[1])
        outputs, window = weight.shape[0], weight.shape[2]
        has_bias = len(node.input) > 2 and node.input[2]
        bias = self.graph.floats(node.input[2]) if has_bias else np.zeros(outputs, np.float32)
        of_picture = value.layer < 0
        size = self.network.model.input.size if of_picture else self._layers[value.layer].out_size
        kind = conv_kind(self.graph, node, of_picture=of_picture, weight=weight)
        stride = self.graph.attributes(node).get("strides", [1, 1])[0]
        if kind == "stem":
            if self._layers or value.colors is None or not value.colors.is_permutation:
                raise self.graph.unsupported(
                    node, "one convolution must read the picture, with all its colors"
                )
            weight, self.network.color_offset = value.colors.fold_into(weight)
        pads = conv_pads(self.graph, node, value.border, size, window, stride)
        self._layers.append(
            Layer(
                name=node.name or node.output[0],
                kind=kind,
                weight=weight,
                bias=bias,
                source=value.layer,
                stride=stride,
                pads=pads,
                in_size=size,
                out_size=(size + pads[0] + pads[2] - window) // stride + 1,
            )
        )
        return len(self._layers) - 1

    def _residual(self, node: onnx.NodeProto) -> int:
        """Add the residual to the later summand, which is the block's last, linear convolution."""
        first, second = sorted(self.values[name].layer for name in node.input)
        layer = self._layers[second]
        name = next(name for name in node.input if self.values[name].layer == second)
        if first < 0 or layer.kind != "pointwise" or not self._is_unread_output(name):
            raise self.graph.unsupported(
                node, "it must add a block's input to the block's linear output"
            )
        layer.residual = first
        return second

    def _averages_all(self, node: onnx.NodeProto, value: _Value) -> bool:
        """Whether `node` averages over all pixels, and over nothing else."""
        if node.op_type == "ReduceMean":
            over = self.graph.numbers(node, "axes", 1) or []
            return sorted(value.axes[axis] for axis in over) == [2, 3]
        if node.op_type == "GlobalAveragePool":
            return not value.is_transposed
        attributes = self.graph.attributes(node)
        side = self._layers[value.layer].out_size if value.layer >= 0 else 0
        whole = attributes.get("kernel_shape") == [side, side] and not value.is_transposed
        return whole and not any(attributes.get("pads", NO_PADS))

    def _is_unread_output(self, name: str) -> bool:
        """Whether `name` is a layer's output before its activation, with one reader only."""
        value = self.values.get(name, _Value())
        whole = value.layer >= 0 and not any(value.border)
        return whole and self.graph.uses[name] == 1 and self._layers[value.layer].limit is None

    def _unsupported(self, node: onnx.NodeProto) -> Exception:
        return self.graph.unsupported(node, "the compiler does not support it here")

    @property
    def _layers(self) -> list[Layer]:
        return self.network.layers
