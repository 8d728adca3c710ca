"""ONNX to `Network`: checked, with a fixed shape, batch norm folded.

What passes: MobileNet-like hash networks of any width, input size and number of bits, which are
one convolution over the picture, then depthwise and pointwise convolutions (with residual sums),
each with batch norm and ReLU or ReLU6 or neither, then an average over all pixels, one dense layer
and a sigmoid. In a network of bytes (QuantizeLinear and DequantizeLinear) weights become float32,
and the range of each activation is kept. Outputs other than the hash (a classifier, say) are left
out.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from compile.network import Layer, Network, Weights
from edge_runtime.errors import ModelInvalidError, NetworkUnsupportedError
from edge_runtime.model import identify, parse_metadata

HASH = "hash"
"""Name of the output; without one of that name, the first is it."""
TRANSPARENT = {"Flatten", "Reshape", "Squeeze", "Identity", "Dropout"}


def read_network(path: Path) -> Network:
    """The network in the ONNX file `path`; raises ModelNotFoundError, ModelInvalidError, and
    NetworkUnsupportedError, which names the node."""
    model_id, size_bytes = identify(path)
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and onnx's errors share no base
        raise ModelInvalidError(
            "corrupt, or not an ONNX model", where=path, remedy="copy the model file again"
        ) from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    info = parse_metadata(metadata, path=path, model_id=model_id, size_bytes=size_bytes)
    return _Reader(model.graph, Network(info)).read()


class _Reader:
    """Walks the nodes that the hash needs, in order."""

    def __init__(self, graph: onnx.GraphProto, network: Network) -> None:
        self.graph, self.network = graph, network
        self.where = network.model.path
        self.constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        names = [output.name for output in graph.output]
        if not names:
            raise ModelInvalidError(
                "it has no output", where=self.where, remedy="export it again with training/"
            )
        self.output = HASH if HASH in names else names[0]
        self.values: dict[str, int] = {}
        """Of a tensor's name: index of the layer that made it."""
        self.pooled: dict[str, int] = {}
        self.hashed: set[str] = set()

    def read(self) -> Network:
        size = self.network.model.input.size
        image = next(i for i in self.graph.input if i.name not in self.constants)
        shape = [d.dim_value or d.dim_param for d in image.type.tensor_type.shape.dim]
        if shape != [1, 3, size, size]:
            raise ModelInvalidError(
                f"its input is {shape}, but must be [1, 3, {size}, {size}] with no free dimension",
                where=self.where,
                remedy="export it with a fixed shape",
            )
        self.values[image.name] = -1
        nodes = self._needed()
        self.uses = Counter(name for node in nodes for name in node.input)
        for node in nodes:
            self._visit(node)
        if self.output not in self.hashed or not self.network.hash_weight.size:
            raise self._unsupported(nodes[-1], "the output is not a dense layer of pooled features")
        bits = self.network.model.bits
        if self.network.hash_weight.shape[0] != bits:
            raise ModelInvalidError(
                f"{self.network.hash_weight.shape[0]} outputs, but its metadata says {bits} bits",
                where=self.where,
                remedy="export it again with training/",
            )
        return self.network

    def _needed(self) -> list[onnx.NodeProto]:
        wanted, nodes = {self.output}, []
        for node in reversed(self.graph.node):
            if wanted & set(node.output):
                nodes.append(node)
                wanted |= set(node.input)
        return nodes[::-1]

    def _visit(self, node: onnx.NodeProto) -> None:
        out, kind = node.output[0], node.op_type
        inputs = [name for name in node.input if name]
        if kind == "Constant":
            self.constants[out] = self._value(node)
        elif kind == "DequantizeLinear" and inputs[0] in self.constants:
            self.constants[out] = self._dequantised(node)
        elif kind in ("QuantizeLinear", "DequantizeLinear") and self._known(inputs[0]):
            self._quantised(node)
        elif kind == "Conv" and inputs[0] in self.values:
            self.values[out] = self._convolution(node)
        elif kind == "BatchNormalization" and self._last_of(inputs[0]):
            self._fold(node)
            self.values[out] = self.values[inputs[0]]
        elif kind in ("Relu", "Clip") and self._last_of(inputs[0]):
            self._activation(node)
            self.values[out] = self.values[inputs[0]]
        elif kind == "Add" and all(name in self.values for name in inputs):
            self.values[out] = self._residual(node)
        elif kind == "GlobalAveragePool" or (kind == "ReduceMean" and self._over_pixels(node)):
            self.pooled[out] = self._layer(node, inputs[0])
        elif kind in TRANSPARENT and inputs[0] in self.pooled:
            self.pooled[out] = self.pooled[inputs[0]]
        elif kind in ("Gemm", "MatMul") and inputs[0] in self.pooled:
            self._dense(node)
            self.hashed.add(out)
        elif kind == "Add" and inputs[0] in self.hashed and inputs[1] in self.constants:
            self.network.hash_bias = self._constant(inputs[1]).reshape(-1)
            self.hashed.add(out)
        elif kind in {"Sigmoid", *TRANSPARENT} and inputs[0] in self.hashed:
            self.hashed.add(out)
        else:
            raise self._unsupported(node, "this compiler does not know it there")

    def _value(self, node: onnx.NodeProto) -> np.ndarray:
        """Of a Constant."""
        value = next(iter(self._attributes(node).values()), None)
        if isinstance(value, onnx.TensorProto):
            return numpy_helper.to_array(value)
        if isinstance(value, (int, float, list)):
            return np.array(value)
        raise self._unsupported(node, "it must be a tensor or numbers")

    def _known(self, name: str) -> bool:
        return name in self.values or name in self.pooled or name in self.hashed

    def _quantised(self, node: onnx.NodeProto) -> None:
        """Its input under another name; of a layer's output, what its bytes stand for."""
        name, out = node.input[0], node.output[0]
        if name in self.hashed:
            self.hashed.add(out)
            return
        names = self.pooled if name in self.pooled else self.values
        names[out] = names[name]
        if node.op_type == "DequantizeLinear" or names is self.pooled or names[name] < 0:
            return
        scale, zero = self._constant(node.input[1]), np.zeros(1, np.uint8)
        if len(node.input) > 2:
            zero = self.constants[node.input[2]]
        if scale.size != 1 or zero.dtype not in (np.uint8, np.int8):
            raise self._unsupported(node, "activations must be bytes of one scale")
        ends = np.iinfo(zero.dtype)
        low, high = ((end - int(zero.item())) * float(scale.item()) for end in (ends.min, ends.max))
        layer = self._layers[names[name]]
        layer.span = low, high
        if low == 0 and layer.limit is None:
            layer.limit = high  # what it cannot hold is cut off, as a ReLU would

    def _dequantised(self, node: onnx.NodeProto) -> Weights:
        value, scale = self.constants[node.input[0]], self._constant(node.input[1])
        zero = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.float32)
        shape = [1] * value.ndim
        if scale.size > 1:
            shape[self._attributes(node).get("axis", 1)] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape if zero.size > 1 else [])
        return (value.astype(np.float32) - zero) * scale

    def _convolution(self, node: onnx.NodeProto) -> int:
        attributes = self._attributes(node)
        weight = self._constant(node.input[1])
        outputs, _, high, wide = weight.shape
        groups = attributes.get("group", 1)
        has_bias = len(node.input) > 2 and node.input[2]
        bias = self._constant(node.input[2]) if has_bias else np.zeros(outputs, np.float32)
        source = self.values[node.input[0]]
        size = self.network.model.input.size if source < 0 else self._layers[source].out_size
        strides = attributes.get("strides", [1, 1])
        if high != wide or len(set(strides)) > 1 or set(attributes.get("dilations", [1])) != {1}:
            raise self._unsupported(node, "windows and strides must be square, without dilation")
        stride, kind = strides[0], self._kind(node, source, groups, weight)
        pads = self._pads(node, attributes, size, high, stride)
        out_size = (size + pads[0] + pads[2] - high) // stride + 1
        self._layers.append(
            Layer(
                name=node.name or node.output[0],
                kind=kind,
                weight=weight,
                bias=bias,
                source=source,
                stride=stride,
                pads=pads,
                in_size=size,
                out_size=out_size,
            )
        )
        return len(self._layers) - 1

    def _kind(self, node: onnx.NodeProto, source: int, groups: int, weight: Weights) -> str:
        outputs, per_group, high, _ = weight.shape
        stride = self._attributes(node).get("strides", [1])[0]
        if source < 0 and groups == 1:
            return "stem"
        if per_group == 1 and groups == outputs:
            return "depthwise"
        if groups == 1 and high == 1 and stride == 1:
            return "pointwise"
        raise self._unsupported(
            node,
            f"a {high} x {high} convolution in {groups} groups is neither the first one, nor "
            "depthwise, nor pointwise",
        )

    def _pads(
        self, node: onnx.NodeProto, attributes: dict[str, Any], size: int, window: int, stride: int
    ) -> tuple[int, int, int, int]:
        automatic = attributes.get("auto_pad", b"NOTSET").decode()
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-size // stride) - 1) * stride + window - size, 0)
            few, many = total // 2, total - total // 2
            first, last = (few, many) if automatic == "SAME_UPPER" else (many, few)
            return first, first, last, last
        top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
        if top + bottom != left + right:
            raise self._unsupported(node, "its output is not square")
        return top, left, bottom, right

    def _fold(self, node: onnx.NodeProto) -> None:
        layer = self._layers[self.values[node.input[0]]]
        scale, shift, mean, variance = (
            self._constant(name).astype(np.float64) for name in node.input[1:5]
        )
        factor = scale / np.sqrt(variance + self._attributes(node).get("epsilon", 1e-5))
        layer.weight = (layer.weight * factor[:, None, None, None]).astype(np.float32)
        layer.bias = ((layer.bias - mean) * factor + shift).astype(np.float32)

    def _activation(self, node: onnx.NodeProto) -> None:
        low, high = 0.0, float("inf")
        if node.op_type == "Clip":
            attributes = self._attributes(node)
            bounds = [
                float(self._constant(name).item()) if name else None for name in node.input[1:]
            ]
            bounds += [None] * (2 - len(bounds))
            low = bounds[0] if bounds[0] is not None else attributes.get("min", -float("inf"))
            high = bounds[1] if bounds[1] is not None else attributes.get("max", high)
        if low != 0:
            raise self._unsupported(node, f"its lower end is {low}, not 0")
        self._layers[self.values[node.input[0]]].limit = high

    def _residual(self, node: onnx.NodeProto) -> int:
        """The later of the two summands is the block's last, linear convolution."""
        first, second = sorted(self.values[name] for name in node.input)
        layer = self._layers[second]
        name = next(name for name in node.input if self.values[name] == second)
        if first < 0 or layer.kind != "pointwise" or not self._last_of(name):
            raise self._unsupported(node, "not the sum of a block's input and its linear output")
        layer.residual = first
        return second

    def _dense(self, node: onnx.NodeProto) -> None:
        attributes = self._attributes(node)
        weight = self._constant(node.input[1])
        if attributes.get("transA", 0):
            raise self._unsupported(node, "its input is transposed")
        transposed = node.op_type == "Gemm" and attributes.get("transB", 0)
        scaled = weight * np.float32(attributes.get("alpha", 1))
        self.network.hash_weight = np.ascontiguousarray(scaled if transposed else scaled.T)
        bias = np.zeros(self.network.hash_weight.shape[0], np.float32)
        if len(node.input) > 2 and node.input[2]:
            beta = np.float32(attributes.get("beta", 1))
            bias += self._constant(node.input[2]).reshape(-1) * beta
        self.network.hash_bias = bias
        self.network.hash_source = self.pooled[node.input[0]]

    def _over_pixels(self, node: onnx.NodeProto) -> bool:
        axes = self._attributes(node).get("axes")
        if axes is None and len(node.input) > 1:
            axes = self._constant(node.input[1]).tolist()
        return sorted(axis % 4 for axis in axes or []) == [2, 3]

    def _last_of(self, name: str) -> bool:
        """Whether `name` is a layer's output as it stands, which nothing else reads."""
        index = self.values.get(name, -1)
        return index >= 0 and self.uses[name] == 1 and self._layers[index].limit is None

    def _layer(self, node: onnx.NodeProto, name: str) -> int:
        if self.values.get(name, -1) < 0:
            raise self._unsupported(node, "it does not follow a convolution")
        return self.values[name]

    def _constant(self, name: str) -> Weights:
        if name not in self.constants:
            raise ModelInvalidError(
                f'"{name}" must be a constant', where=self.where, remedy="fold constants first"
            )
        return self.constants[name].astype(np.float32)

    def _attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}

    @property
    def _layers(self) -> list[Layer]:
        return self.network.layers

    def _unsupported(self, node: onnx.NodeProto, why: str) -> NetworkUnsupportedError:
        return NetworkUnsupportedError(
            f'operator {node.op_type} "{node.name or node.output[0]}": {why}',
            where=self.where,
            remedy="the portable engine runs it: edge-runtime --model",
        )
