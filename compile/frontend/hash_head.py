"""From the averaged features to the hash: one dense layer, in any of its ONNX forms.

The dense layer is a Gemm, a MatMul or a 1 x 1 convolution. Scales and shifts of its sums before the
activation are folded into it: a separate bias, or a batch norm as in OrthoHash. The activation is
monotonic and is not compiled. Its threshold becomes a threshold of the sums instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx

from compile.frontend.ir import Network
from compile.frontend.onnx_graph import FEATURES, Graph
from edge_runtime.errors import ModelInvalidError

TRANSPARENT = frozenset({"Flatten", "Reshape", "Squeeze", "Identity", "Dropout"})
ACTIVATIONS: dict[str, tuple[float, float, Callable[[float], float]]] = {
    "Sigmoid": (0.0, 1.0, lambda t: math.log(t / (1 - t))),
    "Tanh": (-1.0, 1.0, math.atanh),
}
"""Lower end, upper end, and inverse of each activation."""


class HashHead:
    """Follows the tensors from the average to the hash."""

    def __init__(self, graph: Graph, network: Network) -> None:
        self.graph, self.network = graph, network
        self.pooled: dict[str, int] = {}
        """Averaged features: tensor name -> index of the layer."""
        self.sums: set[str] = set()
        """Tensors with the dense layer's sums, before the activation."""
        self.hashed: set[str] = set()
        """Tensors after the activation."""
        network.hash_threshold = network.model.threshold

    def knows(self, name: str) -> bool:
        """Whether the tensor `name` is averaged features, sums or the hash."""
        return name in self.pooled or name in self.sums or name in self.hashed

    def alias(self, name: str, out: str) -> None:
        """Record that the tensor `out` equals `name`."""
        if name in self.pooled:
            self.pooled[out] = self.pooled[name]
        else:
            (self.sums if name in self.sums else self.hashed).add(out)

    def visit(self, node: onnx.NodeProto, name: str) -> None:
        """Read a node whose input `name` this head knows; raises `NetworkUnsupportedError`."""
        kind, out = node.op_type, node.output[0]
        if kind in TRANSPARENT or (kind == "Transpose" and name in self.pooled):
            self.alias(name, out)  # one pixel: its channels keep their order in any layout
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
            raise self.graph.unsupported(node, "the compiler does not support it here")

    def check(self) -> None:
        """Raise unless the hash and the features are as the metadata says."""
        if self.graph.output not in self.sums | self.hashed:
            what = "the output is not a dense layer of pooled features"
            raise self.graph.unsupported(self.graph.nodes[-1], what)
        bits = self.network.model.bits
        if self._bits != bits:
            raise ModelInvalidError(
                f"the hash layer has {self._bits} outputs, but the metadata says {bits} bits",
                where=self.graph.where,
                remedy="export it again with training/",
            )

        features, source = self.network.model.features, self.network.hash_source
        if features and (
            self.pooled.get(FEATURES) != source or self.network.layers[source].outputs != features
        ):
            raise ModelInvalidError(
                f"the output {FEATURES} is not the {features} averages that enter the hash layer",
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
                    node, "after the average it must be 1 x 1 and read all channels"
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
                f"edge.threshold must lie between {low:g} and {high:g} for a {kind}, "
                f"got {threshold:g}",
                where=self.graph.where,
                remedy="set it to the activation that separates ones from zeros",
            )
        self.network.hash_threshold = inverse(threshold)
