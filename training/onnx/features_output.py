"""Give an existing hash network a second output, the pooled features that enter its hash layer."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

from edge_runtime.engine.portable import FEATURES, OUTPUT
from training.onnx.model_file import FEATURES_KEY, ExportError

SAME_CODES_KEY = "edge.same_codes_as"


def with_features(model: onnx.ModelProto, same_codes_as: str = "") -> onnx.ModelProto:
    """Return a copy of `model`, fp32 or int8 (QDQ), with the output `features` [1, F].

    `same_codes_as` is the id of the file that `model` was read from. The copy computes the same
    codes, so galleries of that file stay usable. A model that has the output already only gets the
    metadata. Raises ExportError when no Gemm feeds a Sigmoid and then the hash.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    gemm = _hash_layer(graph)
    width = _width(graph, gemm)
    entering = gemm.input[0]
    if entering != FEATURES:
        if any(FEATURES in node.output for node in graph.node):
            _rename(graph, FEATURES, f"{FEATURES}.inner")
        _rename(graph, entering, FEATURES)
    _drop(graph.value_info, FEATURES)
    _drop(graph.output, FEATURES)
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [1, width]))
    metadata = {entry.key: entry.value for entry in changed.metadata_props}
    metadata[FEATURES_KEY] = str(width)
    earlier = [each for each in metadata.get(SAME_CODES_KEY, "").split(",") if each]
    if ids := list(dict.fromkeys([*earlier, *filter(None, [same_codes_as])])):
        metadata[SAME_CODES_KEY] = ",".join(ids)
    del changed.metadata_props[:]
    helper.set_model_props(changed, metadata)
    onnx.checker.check_model(changed, full_check=True)
    return changed


def without_features(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` without the output and the metadata that `with_features` adds."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _drop(changed.graph.output, FEATURES)
    for entry in model.metadata_props:
        if entry.key in (FEATURES_KEY, SAME_CODES_KEY):
            changed.metadata_props.remove(entry)
    return changed


def _hash_layer(graph: onnx.GraphProto) -> onnx.NodeProto:
    """Return the Gemm below the Sigmoid that gives the hash, quantized or not."""
    made_by = {name: node for node in graph.node for name in node.output}
    names = [each.name for each in graph.output]
    name = OUTPUT if OUTPUT in names else names[0]
    seen: list[str] = []
    while node := made_by.get(name):
        seen.append(node.op_type)
        if node.op_type == "Gemm" and "Sigmoid" in seen:
            return node
        if node.op_type not in ("Sigmoid", "QuantizeLinear", "DequantizeLinear"):
            break
        name = node.input[0]
    raise ExportError(
        f"no Gemm and Sigmoid compute its output {names[0]}",
        remedy="use a model of training/",
    )


def _width(graph: onnx.GraphProto, gemm: onnx.NodeProto) -> int:
    """Return F, the number of inputs of the hash layer."""
    made_by = {name: node for node in graph.node for name in node.output}
    name = gemm.input[1]
    while node := made_by.get(name):
        name = node.input[0]
    weight = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    if weight is None or len(weight.dims) != 2:
        raise ExportError(
            "the weight of its hash layer must be a constant", remedy="use a model of training/"
        )
    transposed = any(each.name == "transB" and each.i for each in gemm.attribute)
    return int(weight.dims[1 if transposed else 0])


def _drop(values: Any, name: str) -> None:
    """Remove the tensor `name` from a graph's list of value infos."""
    for value in [each for each in values if each.name == name]:
        values.remove(value)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor between nodes."""
    for names in (names for node in graph.node for names in (node.input, node.output)):
        for place, name in enumerate(names):
            if name == old:
                names[place] = new
    for value in graph.value_info:
        if value.name == old:
            value.name = new
