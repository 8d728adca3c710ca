"""Read the attributes of convolutions, borders and activations from ONNX nodes."""

from __future__ import annotations

import numpy as np
import onnx

from compile.frontend.ir import Weights
from compile.frontend.onnx_graph import Graph

Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""
NO_PADS = (0, 0, 0, 0)


def conv_kind(graph: Graph, node: onnx.NodeProto, *, of_picture: bool, weight: Weights) -> str:
    """Return stem, depthwise or pointwise; raises `NetworkUnsupportedError` for other kinds."""
    outputs, per_group, high, wide = weight.shape
    attributes = graph.attributes(node)
    strides, groups = attributes.get("strides", [1, 1]), attributes.get("group", 1)
    if high != wide or len(set(strides)) > 1 or set(attributes.get("dilations", [1])) != {1}:
        raise graph.unsupported(node, "windows and strides must be square, without dilation")
    if of_picture and groups == 1:
        return "stem"
    if per_group == 1 and groups == outputs and not of_picture:
        return "depthwise"
    if groups == 1 and high == 1 and strides[0] == 1:
        return "pointwise"
    raise graph.unsupported(
        node,
        f"a {high} x {high} convolution in {groups} groups is not the first one, depthwise or "
        "pointwise",
    )


def conv_pads(
    graph: Graph, node: onnx.NodeProto, border: Pads, size: int, window: int, stride: int
) -> Pads:
    """Return the border of a convolution's input, `border` of earlier Pad nodes included."""
    attributes = graph.attributes(node)
    automatic = attributes.get("auto_pad", b"NOTSET").decode()
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        if any(border):
            raise graph.unsupported(node, "its input has a border already")
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        few, many = total // 2, total - total // 2
        first, last = (few, many) if automatic == "SAME_UPPER" else (many, few)
        return first, first, last, last
    top, left, bottom, right = add_pads(border, tuple(attributes.get("pads", NO_PADS)))
    if top + bottom != left + right:
        raise graph.unsupported(node, "its output is not square")
    return top, left, bottom, right


def pad_sizes(graph: Graph, node: onnx.NodeProto) -> Pads:
    """Return the border that a Pad node adds; raises `NetworkUnsupportedError`."""
    attributes = graph.attributes(node)
    pads = graph.numbers(node, "pads", 1) or []
    value = attributes.get("value", 0.0)
    if len(node.input) > 2 and node.input[2]:
        value = float(graph.floats(node.input[2]).item())
    zeros = attributes.get("mode", b"constant") == b"constant" and value == 0
    if (
        not zeros
        or len(node.input) > 3
        or len(pads) != 8
        or min(pads) < 0
        or any(pads[axis] for axis in (0, 1, 4, 5))
    ):
        raise graph.unsupported(node, "it must add a border of zeros to rows and columns")
    return pads[2], pads[3], pads[6], pads[7]


def activation_limit(graph: Graph, node: onnx.NodeProto) -> float:
    """Return the upper end of a Relu or Clip node (infinity: none)."""
    low, high = 0.0, float("inf")
    if node.op_type == "Clip":
        attributes = graph.attributes(node)
        bounds = [float(graph.floats(name).item()) if name else None for name in node.input[1:]]
        bounds += [None] * (2 - len(bounds))
        low = bounds[0] if bounds[0] is not None else attributes.get("min", -float("inf"))
        high = bounds[1] if bounds[1] is not None else attributes.get("max", high)
    if low != 0:
        raise graph.unsupported(node, f"its lower end must be 0, got {low}")
    return high


def byte_range(graph: Graph, node: onnx.NodeProto) -> tuple[float, float]:
    """Return the smallest and largest value that a QuantizeLinear node can represent."""
    scale, zero = graph.floats(node.input[1]), np.zeros(1, np.uint8)
    if len(node.input) > 2:
        zero = graph.constants[node.input[2]]
    if scale.size != 1 or zero.dtype not in (np.uint8, np.int8):
        raise graph.unsupported(node, "activations must be bytes with one scale per tensor")
    ends = np.iinfo(zero.dtype)
    low, high = ((end - int(zero.item())) * float(scale.item()) for end in (ends.min, ends.max))
    return low, high


def add_pads(border: Pads, more: tuple[int, ...]) -> Pads:
    """Return the sum of two borders."""
    top, left, bottom, right = (one + other for one, other in zip(border, more, strict=True))
    return top, left, bottom, right
