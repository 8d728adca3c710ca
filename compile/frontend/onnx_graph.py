"""The part of an ONNX graph that computes the hash: its nodes in order, and their constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compile.frontend.ir import Weights
from edge_runtime.errors import ModelInvalidError, NetworkUnsupportedError

HASH = "hash"
"""Name of the hash output. A graph without one uses its first output."""
FEATURES = "features"
"""Name of the output with the pooled features, which a model with edge.features has."""
Numbers = NDArray[np.float64]
Affine = tuple[Numbers, Numbers]
"""(factor, shift) of value * factor + shift. Each has shape [1] or [C]."""


class Graph:
    """An ONNX graph without other outputs (such as a classifier) and their nodes."""

    def __init__(self, graph: onnx.GraphProto, where: str, *, features: bool = False) -> None:
        """Read what computes the hash, and with `features` those, from the file `where`.

        Raises `ModelInvalidError` if the output is missing.
        """
        self.where = where
        self.constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self.inputs = [each for each in graph.input if each.name not in self.constants]
        names = [output.name for output in graph.output]
        if not names:
            raise ModelInvalidError(
                "the graph has no output", where=where, remedy="export it again with training/"
            )
        self.output = HASH if HASH in names else names[0]
        if features and FEATURES not in names:
            raise ModelInvalidError(
                f"the graph has no output {FEATURES}, but the metadata says it has",
                where=where,
                remedy="export it again with training/",
            )
        wanted, nodes = {self.output, *([FEATURES] if features else [])}, []
        for node in reversed(graph.node):
            if wanted & set(node.output):
                nodes.append(node)
                wanted |= set(node.input)
        self.nodes = nodes[::-1]
        self.uses = Counter(name for node in self.nodes for name in node.input)

    def walk(self) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that compute. Nodes that only produce constants go to `constants`."""
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = self._value(node)
            elif node.op_type == "DequantizeLinear" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self._dequantize(node)
            else:
                yield node

    def floats(self, name: str) -> Weights:
        """Return the constant `name`; raises `ModelInvalidError` if it is not one."""
        if name not in self.constants:
            raise ModelInvalidError(
                f'"{name}" must be a constant', where=self.where, remedy="fold constants first"
            )
        value: Weights = self.constants[name].astype(np.float32)
        return value

    def numbers(self, node: onnx.NodeProto, attribute: str, place: int) -> list[int] | None:
        """Return integers that are an attribute or, in newer versions of ONNX, input `place`."""
        found = self.attributes(node).get(attribute)
        if found is None and len(node.input) > place and node.input[place]:
            found = self.floats(node.input[place]).reshape(-1).astype(int).tolist()
        return found

    def affine(self, node: onnx.NodeProto, name: str, axis: int, channels: int) -> Affine | None:
        """Return the scale and shift that `node` applies to each channel of its input `name`.

        `axis`, counted from the last (-1), is the one with the `channels`. Returns None if `node`
        does anything else.
        """
        kind = node.op_type
        if kind == "BatchNormalization" and node.input[0] == name:
            scale, shift, mean, variance = (
                self.floats(each).astype(np.float64) for each in node.input[1:5]
            )
            factor = scale / np.sqrt(variance + self.attributes(node).get("epsilon", 1e-5))
            return factor, shift - mean * factor
        if kind not in ("Add", "Sub", "Mul", "Div") or len(node.input) != 2:
            return None
        first = node.input[0] == name
        other = node.input[1] if first else node.input[0]
        if other not in self.constants:
            return None
        value = self.floats(other).astype(np.float64)
        if value.size > 1:
            lengths = dict(enumerate(value.shape[::-1], 1))
            if lengths.pop(-axis, 1) != channels or any(each != 1 for each in lengths.values()):
                raise self.unsupported(
                    node, f"its constant must be one number or one for each of {channels} channels"
                )
        value, one, nothing = value.reshape(-1), np.ones(1), np.zeros(1)
        if kind == "Add":
            return one, value
        if kind == "Sub":
            return (one, -value) if first else (-one, value)
        if kind == "Mul":
            return value, nothing
        if first and value.all():
            return 1 / value, nothing
        raise self.unsupported(node, "it divides a constant, or divides by zero")

    def attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """Return the attributes of `node` by name."""
        return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}

    def unsupported(self, node: onnx.NodeProto, why: str) -> NetworkUnsupportedError:
        """Return an error that names `node`."""
        return NetworkUnsupportedError(
            f'operator {node.op_type} "{node.name or node.output[0]}": {why}',
            where=self.where,
            remedy="run it on the portable engine: edge-runtime --model",
        )

    def _value(self, node: onnx.NodeProto) -> NDArray[Any]:
        value = next(iter(self.attributes(node).values()), None)
        if isinstance(value, onnx.TensorProto):
            return np.asarray(numpy_helper.to_array(value))
        if isinstance(value, (int, float, list)):
            return np.array(value)
        raise self.unsupported(node, "its value must be a tensor or numbers")

    def _dequantize(self, node: onnx.NodeProto) -> Weights:
        value, scale = self.constants[node.input[0]], self.floats(node.input[1])
        zero = self.floats(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.float32)
        shape = [1] * value.ndim
        if scale.size > 1:
            shape[self.attributes(node).get("axis", 1)] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape if zero.size > 1 else [])
        return np.asarray((value.astype(np.float32) - zero) * scale)
