"""ONNX to `Network`: checked, with a fixed shape, batch norm folded.

What passes: MobileNet-like hash networks of any width, input size and number of bits, which are
one convolution over the picture, then depthwise and pointwise convolutions (with residual sums),
each with batch norm and ReLU or ReLU6 or neither, then an average over all pixels and one dense
layer (compile/frontend/hash_head.py). A border may be a node of its own (Pad), and so may what scales or shifts
the channels of the picture or of a convolution (a mean and a deviation of each colour, say);
turning the axes to and fro is looked through. In a network of bytes (QuantizeLinear and
DequantizeLinear) weights become float32, and the range of each activation is kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from compile.frontend.hash_head import Tail
from compile.frontend.input_affine import COLOURS, Colours
from compile.frontend.ir import Layer, Network, Weights
from compile.frontend.onnx_graph import Affine, Graph
from edge_runtime.errors import ModelInvalidError
from edge_runtime.model import identify, parse_metadata

Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""
AXES = (0, 1, 2, 3)
"""Of a tensor that is not turned: picture, channel, row, column."""
NONE = (0, 0, 0, 0)


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
    return _Reader(Graph(model.graph, str(path)), Network(info)).read()


class _Reader:
    """Walks the nodes that the hash needs, in order, up to the average."""

    def __init__(self, graph: Graph, network: Network) -> None:
        self.graph, self.network, self.tail = graph, network, Tail(graph, network)
        self.values: dict[str, int] = {}
        """Of a tensor's name: index of the layer that made it; -1: the picture."""
        self.axes: dict[str, tuple[int, ...]] = {}
        """Of a tensor that is turned: which of AXES each of its axes is."""
        self.borders: dict[str, Pads] = {}
        """Of a tensor with a border of zeros."""
        self.colours: dict[str, Colours] = {}
        """Of the picture, as it is or as it was changed."""

    def read(self) -> Network:
        size = self.network.model.input.size
        image = self.graph.inputs[0]
        shape = [d.dim_value or d.dim_param for d in image.type.tensor_type.shape.dim]
        if shape != [1, COLOURS, size, size]:
            raise ModelInvalidError(
                f"its input is {shape}, but must be [1, 3, {size}, {size}] with no free dimension",
                where=self.graph.where,
                remedy="export it with a fixed shape",
            )
        self.values[image.name] = -1
        self.colours[image.name] = Colours()
        for node in self.graph.walk():
            self._visit(node)
        self.tail.check()
        return self.network

    def _visit(self, node: onnx.NodeProto) -> None:
        kind, out = node.op_type, node.output[0]
        known = [name for name in node.input if name in self.values]
        if later := next((name for name in node.input if self.tail.knows(name)), None):
            if kind in ("QuantizeLinear", "DequantizeLinear"):
                self.tail.alias(later, out)
            else:
                self.tail.visit(node, later)
        elif not known:
            raise self._unknown(node)
        elif len(known) == 1 and (change := self._affine(node, known[0])):
            self._change(node, known[0], change)
        else:
            self._body(node, known)

    def _body(self, node: onnx.NodeProto, known: list[str]) -> None:
        """A node that reads the tensors `known`, and gives one more of a layer."""
        kind, name, out = node.op_type, known[0], node.output[0]
        plain = name not in self.axes
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            self._quantised(node)
        elif kind in ("Identity", "Dropout"):
            self._alias(name, out)
        elif kind == "Transpose":
            self._turn(node, name)
        elif kind == "Gather" and name == node.input[0] and name in self.colours:
            self._choose(node, name)
        elif kind in ("GlobalAveragePool", "AveragePool", "ReduceMean") and self._of_all(
            node, name
        ):
            self.tail.pooled[out] = self._layer(node, name)
        elif plain and kind == "Pad":
            self._pad(node, name)
        elif plain and kind == "Conv" and name == node.input[0]:
            self.values[out] = self._convolution(node)
        elif kind in ("Relu", "Clip") and self._last_of(name):
            self._activation(node)
            self._alias(name, out)
        elif kind == "Add" and len(known) == 2 and not self.axes.keys() & set(known):
            self.values[out] = self._residual(node)
        else:
            raise self._unknown(node)

    def _alias(self, name: str, out: str) -> None:
        """`out` is `name` once more."""
        for table in (self.values, self.axes, self.borders, self.colours):
            if name in table:
                table[out] = table[name]  # type: ignore[index]

    def _turn(self, node: onnx.NodeProto, name: str) -> None:
        before = self.axes.get(name, AXES)
        order = self.graph.attributes(node).get("perm", before[::-1])
        self._alias(name, node.output[0])
        self.axes[node.output[0]] = tuple(before[axis] for axis in order)
        if self.axes[node.output[0]] == AXES:
            del self.axes[node.output[0]]

    def _choose(self, node: onnx.NodeProto, name: str) -> None:
        """Colours of the picture, in another order say."""
        axis = self.graph.attributes(node).get("axis", 0)
        if self.axes.get(name, AXES)[axis] != 1:
            raise self.graph.unsupported(node, "it chooses among what is no colour")
        self._alias(name, node.output[0])
        places = self.graph.floats(node.input[1]).reshape(-1).astype(int).tolist()
        self.colours[node.output[0]] = self.colours[name].chosen(places)

    def _affine(self, node: onnx.NodeProto, name: str) -> Affine | None:
        axis = self.axes.get(name, AXES).index(1) - len(AXES)
        index = self.values[name]
        channels = len(self.colours[name].order) if index < 0 else self._layers[index].outputs
        return self.graph.affine(node, name, axis, channels)

    def _change(self, node: onnx.NodeProto, name: str, change: Affine) -> None:
        """Fold `change` into the convolution that made `name`, or keep it for the first one."""
        factor, shift = change
        self._alias(name, node.output[0])
        if self.values[name] >= 0:
            layer = self._layers[self.values[name]]
            if not self._last_of(name) or layer.residual is not None or layer.span is not None:
                raise self._unknown(node)
            layer.weight = (layer.weight * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
            layer.bias = (layer.bias * factor + shift).astype(np.float32)
            return
        if any(self.borders.get(name, NONE)) and shift.any():
            raise self.graph.unsupported(node, "it shifts a border, which then is not zero")
        self.colours[node.output[0]] = self.colours[name].changed(change)

    def _quantised(self, node: onnx.NodeProto) -> None:
        """Its input under another name; of a layer's output, what its bytes stand for."""
        name = node.input[0]
        self._alias(name, node.output[0])
        if node.op_type == "DequantizeLinear" or self.values[name] < 0:
            return
        scale, zero = self.graph.floats(node.input[1]), np.zeros(1, np.uint8)
        if len(node.input) > 2:
            zero = self.graph.constants[node.input[2]]
        if scale.size != 1 or zero.dtype not in (np.uint8, np.int8):
            raise self.graph.unsupported(node, "activations must be bytes of one scale")
        ends = np.iinfo(zero.dtype)
        low, high = ((end - int(zero.item())) * float(scale.item()) for end in (ends.min, ends.max))
        layer = self._layers[self.values[name]]
        layer.span = low, high
        if low == 0 and layer.limit is None:
            layer.limit = high  # what it cannot hold is cut off, as a ReLU would

    def _pad(self, node: onnx.NodeProto, name: str) -> None:
        attributes = self.graph.attributes(node)
        pads = self.graph.numbers(node, "pads", 1) or []
        value = attributes.get("value", 0.0)
        if len(node.input) > 2 and node.input[2]:
            value = float(self.graph.floats(node.input[2]).item())
        zeros = attributes.get("mode", b"constant") == b"constant" and value == 0
        if (
            not zeros
            or len(node.input) > 3
            or len(pads) != 8
            or min(pads) < 0
            or any(pads[axis] for axis in (0, 1, 4, 5))
        ):
            raise self.graph.unsupported(node, "it is no border of zeros around the picture")
        self._alias(name, node.output[0])
        self.borders[node.output[0]] = _wider(
            self.borders.get(name, NONE), (pads[2], pads[3], pads[6], pads[7])
        )

    def _convolution(self, node: onnx.NodeProto) -> int:
        attributes = self.graph.attributes(node)
        weight = self.graph.floats(node.input[1])
        outputs, _, high, wide = weight.shape
        groups = attributes.get("group", 1)
        has_bias = len(node.input) > 2 and node.input[2]
        bias = self.graph.floats(node.input[2]) if has_bias else np.zeros(outputs, np.float32)
        source = self.values[node.input[0]]
        size = self.network.model.input.size if source < 0 else self._layers[source].out_size
        strides = attributes.get("strides", [1, 1])
        if high != wide or len(set(strides)) > 1 or set(attributes.get("dilations", [1])) != {1}:
            raise self.graph.unsupported(
                node, "windows and strides must be square, without dilation"
            )
        stride, kind = strides[0], self._kind(node, source, groups, weight)
        if kind == "stem":
            colours = self.colours[node.input[0]]
            if self._layers or not colours.whole:
                raise self.graph.unsupported(node, "the picture is read once, all its colours")
            weight, self.network.tint = colours.into(weight)
        pads = self._pads(node, size, high, stride)
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
        stride = self.graph.attributes(node).get("strides", [1])[0]
        if source < 0 and groups == 1:
            return "stem"
        if per_group == 1 and groups == outputs and source >= 0:
            return "depthwise"
        if groups == 1 and high == 1 and stride == 1:
            return "pointwise"
        raise self.graph.unsupported(
            node,
            f"a {high} x {high} convolution in {groups} groups is neither the first one, nor "
            "depthwise, nor pointwise",
        )

    def _pads(self, node: onnx.NodeProto, size: int, window: int, stride: int) -> Pads:
        attributes, border = self.graph.attributes(node), self.borders.get(node.input[0], NONE)
        automatic = attributes.get("auto_pad", b"NOTSET").decode()
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            if any(border):
                raise self.graph.unsupported(node, "its input has a border already")
            total = max((-(-size // stride) - 1) * stride + window - size, 0)
            few, many = total // 2, total - total // 2
            first, last = (few, many) if automatic == "SAME_UPPER" else (many, few)
            return first, first, last, last
        top, left, bottom, right = _wider(border, tuple(attributes.get("pads", NONE)))
        if top + bottom != left + right:
            raise self.graph.unsupported(node, "its output is not square")
        return top, left, bottom, right

    def _activation(self, node: onnx.NodeProto) -> None:
        low, high = 0.0, float("inf")
        if node.op_type == "Clip":
            attributes = self.graph.attributes(node)
            bounds = [
                float(self.graph.floats(name).item()) if name else None for name in node.input[1:]
            ]
            bounds += [None] * (2 - len(bounds))
            low = bounds[0] if bounds[0] is not None else attributes.get("min", -float("inf"))
            high = bounds[1] if bounds[1] is not None else attributes.get("max", high)
        if low != 0:
            raise self.graph.unsupported(node, f"its lower end is {low}, not 0")
        self._layers[self.values[node.input[0]]].limit = high

    def _residual(self, node: onnx.NodeProto) -> int:
        """The later of the two summands is the block's last, linear convolution."""
        first, second = sorted(self.values[name] for name in node.input)
        layer = self._layers[second]
        name = next(name for name in node.input if self.values[name] == second)
        if first < 0 or layer.kind != "pointwise" or not self._last_of(name):
            raise self.graph.unsupported(
                node, "not the sum of a block's input and its linear output"
            )
        layer.residual = first
        return second

    def _of_all(self, node: onnx.NodeProto, name: str) -> bool:
        """Whether it averages over all pixels, and nothing else."""
        if node.op_type == "ReduceMean":
            wanted = self.axes.get(name, AXES)
            over = self.graph.numbers(node, "axes", 1) or []
            return sorted(wanted[axis] for axis in over) == [2, 3]
        if node.op_type == "GlobalAveragePool":
            return name not in self.axes
        attributes, index = self.graph.attributes(node), self.values[name]
        side = self._layers[index].out_size if index >= 0 else 0
        whole = attributes.get("kernel_shape") == [side, side] and name not in self.axes
        return whole and not any(attributes.get("pads", NONE))

    def _last_of(self, name: str) -> bool:
        """Whether `name` is a layer's output as it stands, which nothing else reads."""
        index = self.values.get(name, -1)
        whole = index >= 0 and not any(self.borders.get(name, NONE))
        return whole and self.graph.uses[name] == 1 and self._layers[index].limit is None

    def _layer(self, node: onnx.NodeProto, name: str) -> int:
        if self.values[name] < 0 or any(self.borders.get(name, NONE)):
            raise self.graph.unsupported(node, "it does not follow a convolution")
        return self.values[name]

    def _unknown(self, node: onnx.NodeProto) -> Exception:
        return self.graph.unsupported(node, "this compiler does not know it there")

    @property
    def _layers(self) -> list[Layer]:
        return self.network.layers


def _wider(border: Pads, more: tuple[int, ...]) -> Pads:
    top, left, bottom, right = (one + other for one, other in zip(border, more, strict=True))
    return top, left, bottom, right
