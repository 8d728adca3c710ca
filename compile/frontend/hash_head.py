"""From the averaged features to the hash: one dense layer, however it is written.

A Gemm, a MatMul or a 1 x 1 convolution; what scales or shifts its sums before the activation is
folded into it (a batch norm, as OrthoHash has one; a bias of its own). The activation is left out
of what is compiled, for it is monotonic: its threshold is turned into one of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx

from compile.frontend.ir import Network
from compile.frontend.onnx_graph import Graph
from edge_runtime.errors import ModelInvalidError

TRANSPARENT = frozenset({"Flatten", "Reshape", "Squeeze", "Identity", "Dropout"})
ACTIVATIONS: dict[str, tuple[float, float, Callable[[float], float]]] = {
    "Sigmoid": (0.0, 1.0, lambda t: math.log(t / (1 - t))),
    "Tanh": (-1.0, 1.0, math.atanh),
}
"""Ends of its values, and its inverse."""


class Tail:
    """What is known of tensors from the average on."""

    def __init__(self, graph: Graph, network: Network) -> None:
        self.graph, self.network = graph, network
        self.pooled: dict[str, int] = {}
        """Of a tensor's name: index of the layer that was averaged."""
        self.sums: set[str] = set()
        """Names of the dense layer's output before its activation, as `hashed` after it."""
        self.hashed: set[str] = set()
        network.hash_threshold = network.model.threshold

    def knows(self, name: str) -> bool:
        """Whether `name` is a tensor of this part."""
        return name in self.pooled or name in self.sums or name in self.hashed

    def alias(self, name: str, out: str) -> None:
        """`out` is `name` once more."""
        if name in self.pooled:
            self.pooled[out] = self.pooled[name]
        else:
            (self.sums if name in self.sums else self.hashed).add(out)

    def visit(self, node: onnx.NodeProto, name: str) -> None:
        """A node that reads the tensor `name`, which is known."""
        kind, out = node.op_type, node.output[0]
        if kind in TRANSPARENT or (kind == "Transpose" and name in self.pooled):
            self.alias(name, out)  # a pixel's channels keep their order, however it is turned
        elif name in self.pooled and kind in ("Gemm", "MatMul", "Conv"):
            self._dense(node, name)
            self.sums.add(out)
        elif name in self.sums and (change := self.graph.affine(node, name, -1, self._bits)):
            factor, shift = change
            self.network.hash_weight = (self.network.hash_weight * factor.reshape(-1, 1)).astype(
                np.float32
            )
            self.network.hash_bias = (self.network.hash_bias * factor + shift).astype(np.float32)
            self.sums.add(out)
        elif name in self.sums and kind in ACTIVATIONS:
            self._activation(kind)
            self.hashed.add(out)
        else:
            raise self.graph.unsupported(node, "this compiler does not know it there")

    def check(self) -> None:
        """Raise unless the graph's output is the hash, with as many bits as the metadata says."""
        if self.graph.output not in self.sums | self.hashed:
            what = "the output is not a dense layer of pooled features"
            raise self.graph.unsupported(self.graph.nodes[-1], what)
        bits = self.network.model.bits
        if self._bits != bits:
            raise ModelInvalidError(
                f"{self._bits} outputs, but its metadata says {bits} bits",
                where=self.graph.where,
                remedy="export it again with training/",
            )

    @property
    def _bits(self) -> int:
        return int(self.network.hash_weight.shape[0])

    def _dense(self, node: onnx.NodeProto, name: str) -> None:
        attributes, weight = self.graph.attributes(node), self.graph.floats(node.input[1])
        if node.input[0] != name or attributes.get("transA", 0):
            raise self.graph.unsupported(node, "its input is transposed")
        if node.op_type == "Conv":
            if (
                weight.shape[2:] != (1, 1)
                or attributes.get("group", 1) != 1
                or any(attributes.get("pads", []))
            ):
                raise self.graph.unsupported(
                    node, "of an average, it must be 1 x 1 and see all channels"
                )
            weight = weight[:, :, 0, 0]
        elif not (node.op_type == "Gemm" and attributes.get("transB", 0)):
            weight = weight.T
        weight = weight * np.float32(attributes.get("alpha", 1))
        bias = np.zeros(weight.shape[0], np.float32)
        if len(node.input) > 2 and node.input[2]:
            bias += self.graph.floats(node.input[2]).reshape(-1) * np.float32(
                attributes.get("beta", 1)
            )
        self.network.hash_weight, self.network.hash_bias = np.ascontiguousarray(weight), bias
        self.network.hash_source = self.pooled[name]

    def _activation(self, kind: str) -> None:
        low, high, inverse = ACTIVATIONS[kind]
        threshold = self.network.model.threshold
        if not low < threshold < high:
            raise ModelInvalidError(
                f"its threshold is {threshold:g}, but a {kind} lies between {low:g} and {high:g}",
                where=self.graph.where,
                remedy="set edge.threshold to what parts its ones from its zeros",
            )
        self.network.hash_threshold = inverse(threshold)
