"""Export torch to ONNX: fold batch norm into the convolutions, batch 1.

The graph is built node by node (no tracer), so it holds exactly the operators a board needs:
Conv, Clip (ReLU6), GlobalAveragePool, Flatten, Gemm, Sigmoid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.models.mobilenet_v1 import Backbone
from training.onnx.model_file import FEATURES, FEATURES_KEY, HASH, Floats

OPSET, IR_VERSION = 17, 9


def folded(unit: nn.Module) -> tuple[Floats, Floats]:
    """Return kernel float32 [O, I, k, k] and bias [O] of conv + batch norm, computed in float64."""
    conv, norm = unit[0], unit[1]
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    kernel = conv.weight.double() * scale[:, None, None, None]
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return kernel.detach().float().numpy(), bias.detach().float().numpy()


def build(
    backbone: Backbone,
    size: int,
    head: tuple[Floats, Floats] | None,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Build the ONNX model of `backbone` for float32 [1, 3, size, size] named `image`.

    With `head` = (weight [K, F], bias [K]) the outputs are `hash` [1, K], sigmoid activations, and
    the `features` [1, F] that enter the head; without, only the features.
    """
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, value: NDArray[np.float32] | np.float32) -> str:
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    low, high = constant("zero", np.float32(0)), constant("six", np.float32(6))
    side, value = size, "image"
    for index, unit in enumerate(backbone.units):
        conv = unit[0]
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        weight, bias = folded(unit)
        name = f"unit{index}"
        nodes.append(
            helper.make_node(
                "Conv",
                [value, constant(f"{name}.weight", weight), constant(f"{name}.bias", bias)],
                [f"{name}.conv"],
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[before, before, after, after],
                group=conv.groups,
            )
        )
        value = "last" if index == len(backbone.units) - 1 else name
        nodes.append(helper.make_node("Clip", [f"{name}.conv", low, high], [value]))
        side = -(-side // stride)
    nodes.append(helper.make_node("GlobalAveragePool", ["last"], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], [FEATURES], axis=1))
    outputs, described = {FEATURES: backbone.features}, dict(metadata or {})
    if head is not None:
        names = [FEATURES, constant("hash.weight", head[0]), constant("hash.bias", head[1])]
        nodes.append(helper.make_node("Gemm", names, ["hash.logits"], transB=1))
        nodes.append(helper.make_node("Sigmoid", ["hash.logits"], [HASH]))
        outputs = {HASH: head[0].shape[0], **outputs}
        described[FEATURES_KEY] = str(backbone.features)
    graph = helper.make_graph(
        nodes,
        "mobilenet_v1_hash",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
            for name, width in outputs.items()
        ],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    model.producer_name = "edge-runtime training"
    helper.set_model_props(model, described)
    onnx.checker.check_model(model, full_check=True)
    return model
