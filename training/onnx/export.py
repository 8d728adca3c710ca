"""Export torch to ONNX: fold batch norm into the convolutions, batch 1, check against torch.

The graph is built node by node (no tracer), so it holds exactly the operators a board needs:
Conv, Clip (ReLU6), GlobalAveragePool, Flatten, Gemm, Sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge_runtime.errors import ModelError
from training.files import write_bytes
from training.models.mobilenet_v1 import Backbone

OPSET, IR_VERSION = 17, 9
MAX_BYTES = 13_200_000
IMAGE, FEATURES, HASH = "image", "features", "hash"  # names in the graph
FEATURES_KEY = "edge.features"
Floats = NDArray[np.float32]


class ExportError(ModelError):
    """The exported file differs from torch's results or is larger than a board allows."""


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


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write `model` to `path` atomically.

    Raises ExportError when it exceeds `MAX_BYTES`, StorageError when the write fails.
    """
    data = model.SerializeToString()
    if len(data) > MAX_BYTES:
        raise ExportError(
            f"it would be {len(data)} bytes", where=path, remedy=f"a board takes {MAX_BYTES}"
        )
    write_bytes(path, data)


def session(model: bytes | Path, threads: int = 1) -> Callable[[Floats], Floats]:
    """Return a function float32 [1, 3, S, S] -> float32 [1, N] that runs `model`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    engine = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    name = engine.get_inputs()[0].name

    def run(image: Floats) -> Floats:
        result: Floats = engine.run(None, {name: image})[0]
        return result

    return run


def check_parity(
    path: Path, expected: Callable[[Floats], Floats], images: Iterable[Floats]
) -> dict[str, float]:
    """Compare `path` in ONNX Runtime with activations `expected` of images float32 [3, S, S].

    Returns the largest difference of an activation and the number of differing bits; a bit may
    differ only where `expected` is within 1e-4 of the threshold. Raises ExportError otherwise.
    """
    run = session(path, threads=2)
    count, largest, differing, borderline = 0, 0.0, 0, 0
    for image in images:
        count += 1
        theirs, ours = run(image[None])[0], expected(image[None])[0]
        largest = max(largest, float(np.abs(theirs - ours).max()))
        wrong = (theirs > 0.5) != (ours > 0.5)
        differing += int(wrong.sum())
        borderline += int((wrong & (np.abs(ours - 0.5) < 1e-4)).sum())
    if differing > borderline or largest > 1e-3:
        raise ExportError(
            f"it differs from what it was made of in {differing} bits, activations by {largest}",
            where=path,
            remedy="report it: the exporter is wrong",
        )
    return {"photos": count, "largest": largest, "bits_differing": differing}
