"""What a hash layer is put on: a trained backbone, or a finished model whose layer is replaced.

A finished model needs no checkpoint and no torch network: its own ONNX graph, cut at the features,
computes them, and the new layer takes the old one's place. So whoever has the shipped file can
make one of another length, or one for photos of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.model import ModelInfo
from training.hash_layer.features import Floats, Run, runner
from training.methods.base import LinearMap
from training.models.mobilenet_v1 import Backbone, HashNetwork
from training.onnx.export import FEATURES, HASH, ExportError, build, session


@dataclass(frozen=True)
class Origin:
    """Features, and the whole model once there is a layer for them."""

    run: Run
    """float32 [1, 3, size, size] -> features float32 [1, F]."""
    size: int
    """Input side, pixels."""
    made: object
    """How the features came about, for the evidence."""
    whole: Callable[[LinearMap, ModelInfo], onnx.ModelProto]
    """The model with a layer (weight [K, F], bias [K]) and a self-description."""
    expected: Callable[[LinearMap], Run]
    """What that model must compute, float32 [1, K] activations, computed another way."""


def of_backbone(backbone: Backbone, size: int, made: object) -> Origin:
    """A torch backbone at `size` pixels; the exported model is held against torch."""

    def whole(head: LinearMap, info: ModelInfo) -> onnx.ModelProto:
        return build(backbone, size, head, info.to_metadata())

    def expected(head: LinearMap) -> Run:
        network = HashNetwork(len(head[1]), backbone.width)
        network.backbone.load_state_dict(backbone.state_dict())
        network.hash.weight.data, network.hash.bias.data = map(torch.from_numpy, head)
        network.eval()

        def run(image: Floats) -> Floats:
            with torch.inference_mode():
                activations: Floats = network(torch.from_numpy(image)).numpy()
            return activations

        return run

    return Origin(runner(backbone, size), size, made, whole, expected)


def of_model(path: Path) -> Origin:
    """A finished model; another layer in it is held against the layer in numpy on its features.

    Raises ModelError when it is no fp32 model made by training/.
    """
    info = PortableEngine(path).model  # checks the file, with one-line errors
    model = onnx.load(path)
    run = session(featuriser(model, path).SerializeToString())

    def expected(head: LinearMap) -> Run:
        def activations(image: Floats) -> Floats:
            value: Floats = 1 / (1 + np.exp(-(run(image) @ head[0].T + head[1])))
            return value

        return activations

    made = {"model": info.name, "version": info.version, "id": info.id}
    return Origin(
        run, info.input.size, made, lambda head, info: with_head(model, head, info), expected
    )


def featuriser(model: onnx.ModelProto, where: object = "") -> onnx.ModelProto:
    """`model`, of the file `where`, cut at its features, float32 [1, F].

    Raises ExportError when it has no such tensor: it is int8, or not made by training/export.
    """
    weight = next((t for t in model.graph.initializer if t.name == "hash.weight"), None)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ExportError("it is an int8 model", where=where, remedy="give the fp32 one")
    if weight is None:
        raise ExportError("no hash.weight in it", where=where, remedy="use a model of training/")
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    at = next(i for i, node in enumerate(cut.graph.node) if FEATURES in node.output) + 1
    del cut.graph.node[at:]
    kept = [tensor for tensor in cut.graph.initializer if not tensor.name.startswith("hash.")]
    del cut.graph.initializer[:]
    cut.graph.initializer.extend(kept)
    del cut.graph.output[:]
    shape = [1, weight.dims[1]]
    cut.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, shape))
    return cut


def head_of(model: onnx.ModelProto) -> LinearMap:
    """The model's hash layer."""
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return arrays["hash.weight"].copy(), arrays["hash.bias"].copy()


def with_head(model: onnx.ModelProto, head: LinearMap, info: ModelInfo) -> onnx.ModelProto:
    """`model` with another hash layer, of any length, and another self-description."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in ("hash.weight", "hash.bias"):
            value = head[0] if tensor.name == "hash.weight" else head[1]
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    changed.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(HASH, TensorProto.FLOAT, [1, len(head[1])])
    )
    del changed.metadata_props[:]
    helper.set_model_props(changed, info.to_metadata())
    return changed
