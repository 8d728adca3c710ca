"""Read a network from an ONNX file as a row of layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, numpy_helper

from edge_runtime.errors import ModelInvalidError
from training.papers.compressed.qcnn.layers import (
    DENSE,
    DEPTHWISE,
    FLATTEN,
    MAX_POOL,
    MEAN_POOL,
    Floats,
    Layer,
    Network,
)

_REMEDY = "give an fp32 model of training/"


def read_network(path: Path) -> Network:
    """Read an fp32 ONNX file; raises ModelInvalidError, which names a node that is not supported.

    What follows the first output of the graph, such as a second output, is left out.
    """
    model = onnx.load(path)
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    image = model.graph.input[0].type.tensor_type.shape.dim
    channels, size = image[1].dim_value, image[2].dim_value
    layers: list[Layer] = []
    for node in model.graph.node:
        found = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        last = layers[-1] if layers else Layer("", 0, channels, 0, size)
        if node.op_type in ("Relu", "Clip", "Sigmoid") and layers:
            names = {"Relu": "relu", "Clip": "relu6", "Sigmoid": "sigmoid"}
            layers[-1] = replace(last, activation=names[node.op_type])
        elif node.op_type == "Conv":
            layers.append(_convolution(node, found, arrays, last))
        elif node.op_type == "MaxPool":
            window, stride = found["kernel_shape"][0], found["strides"][0]
            made = (last.out_size - window) // stride + 1
            layers.append(
                Layer(MAX_POOL, last.outputs, last.outputs, last.out_size, made, window, stride)
            )
        elif node.op_type == "GlobalAveragePool":
            side = last.out_size
            layers.append(Layer(MEAN_POOL, last.outputs, last.outputs, side, 1, side, side))
        elif node.op_type == "Flatten":
            if last.out_size > 1:
                count = last.outputs * last.out_size**2
                layers.append(Layer(FLATTEN, last.outputs, count, last.out_size, 1))
        elif node.op_type == "Gemm":
            weight, bias = arrays[node.input[1]], arrays[node.input[2]]
            weight = weight if found.get("transB") else weight.T
            layers.append(
                Layer(
                    DENSE, weight.shape[1], weight.shape[0], 1, 1,
                    weight=weight[:, :, None, None], bias=bias, name=node.input[1],
                )
            )  # fmt: skip
        else:
            raise ModelInvalidError(
                f'{node.op_type} "{node.output[0]}" is not supported', where=path, remedy=_REMEDY
            )
        if node.output[0] == model.graph.output[0].name:
            break
    return Network(tuple(layers), channels, size)


def _convolution(
    node: onnx.NodeProto, found: dict[str, Any], arrays: dict[str, Floats], last: Layer
) -> Layer:
    weight, bias = arrays[node.input[1]], arrays[node.input[2]]
    stride, groups = found.get("strides", [1])[0], found.get("group", 1)
    pads = found.get("pads", [0, 0, 0, 0])
    window = weight.shape[2]
    made = (last.out_size + pads[0] + pads[2] - window) // stride + 1
    depthwise = groups == last.outputs and groups > 1
    return Layer(
        DEPTHWISE if depthwise else DENSE, last.outputs, weight.shape[0], last.out_size, made,
        window, stride, pads[0], groups, "", weight, bias, node.input[1],
    )  # fmt: skip
