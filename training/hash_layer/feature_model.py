"""A finished model whose hash layer is replaced. It needs neither a checkpoint nor torch.

Its ONNX graph, cut at the features, computes them, and the new layer replaces the old one. The
shipped file is therefore enough to make a model with another code length, or one for your own
photos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.model import ModelInfo
from training.data.input_tensor import Floats
from training.hash_layer.features import Run
from training.methods.linear_map import LinearMap
from training.onnx.features_output import with_features
from training.onnx.model_file import FEATURES, HASH, ExportError, session


@dataclass(frozen=True)
class FeatureModel:
    """Computes features, and builds the whole model once there is a hash layer for them."""

    run: Run
    """float32 [1, 3, size, size] -> features float32 [1, F]."""
    size: int
    """Input side in pixels."""
    provenance: object
    """How the features were trained, for the evidence file."""
    with_head: Callable[[LinearMap, ModelInfo], onnx.ModelProto]
    """Build the model with a layer (weight [K, F], bias [K]) and its description."""
    expected: Callable[[LinearMap], Run]
    """Return a reference for that model's activations, float32 [1, K], computed another way."""


def from_model(path: Path) -> FeatureModel:
    """Use a finished model; the reference for a new layer is numpy on the model's features.

    Raises ModelError unless `path` is an fp32 model exported by training/.
    """
    info = PortableEngine(path).model  # validates the file with one-line errors
    provenance = {"model": info.name, "version": info.version, "id": info.id}
    return from_onnx(onnx.load(path), info, provenance)


def from_onnx(model: onnx.ModelProto, info: ModelInfo, provenance: object) -> FeatureModel:
    """Use a finished model that was read from a file described by `info`."""
    run = session(cut_at_features(model, info.path).SerializeToString())

    def add_head(head: LinearMap, info: ModelInfo) -> onnx.ModelProto:
        return replace_head(model, head, info)

    def expected(head: LinearMap) -> Run:
        def activations(image: Floats) -> Floats:
            value: Floats = 1 / (1 + np.exp(-(run(image) @ head[0].T + head[1])))
            return value

        return activations

    return FeatureModel(run, info.input.size, provenance, add_head, expected)


def cut_at_features(model: onnx.ModelProto, where: object = "") -> onnx.ModelProto:
    """Return a copy of `model`, which was read from `where`, that ends at the features [1, F].

    Raises ExportError when the model is int8 or was not made by training/onnx/export.py.
    """
    weight = next((t for t in model.graph.initializer if t.name == "hash.weight"), None)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ExportError("it is an int8 model", where=where, remedy="give the fp32 one")
    if weight is None:
        raise ExportError(
            "it has no initializer hash.weight", where=where, remedy="use a model of training/"
        )
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    at = next(i for i, node in enumerate(cut.graph.node) if FEATURES in node.output) + 1
    del cut.graph.node[at:]
    remaining = [tensor for tensor in cut.graph.initializer if not tensor.name.startswith("hash.")]
    del cut.graph.initializer[:]
    cut.graph.initializer.extend(remaining)
    del cut.graph.output[:]
    shape = [1, weight.dims[1]]
    cut.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, shape))
    return cut


def read_head(model: onnx.ModelProto) -> LinearMap:
    """Return the weight [K, F] and the bias [K] of the model's hash layer."""
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return arrays["hash.weight"].copy(), arrays["hash.bias"].copy()


def replace_head(model: onnx.ModelProto, head: LinearMap, info: ModelInfo) -> onnx.ModelProto:
    """Return a copy of `model` with another hash layer, of any length, and another description.

    Its codes are those of no other model, whatever `info` says.
    """
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
    helper.set_model_props(changed, replace(info, same_codes_as=()).to_metadata())
    return with_features(changed)
