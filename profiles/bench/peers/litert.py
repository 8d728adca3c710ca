"""Write the network in the format of LiteRT (TensorFlow Lite) without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from compile.frontend.ir import Layer, Network

Numbers = NDArray[Any]
TYPES = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MEAN": "ReducerOptions",
}


class Graph:
    """A subgraph under construction: tensors with their buffers, operators with their codes."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers = [schema.BufferT()]  # the format requires an empty first buffer
        self.codes: dict[int, int] = {}
        self.operators: list[Any] = []

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> int:
        """Add a computed tensor and return its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), TYPES[dtype]
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, value: Numbers) -> int:
        """Add a constant tensor and return its index."""
        number = self.tensor(name, value.shape, value.dtype.name)
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(value, value.dtype).view(np.uint8).reshape(-1)
        self.tensors[number].buffer = len(self.buffers)
        self.buffers.append(buffer)
        return number

    def operator(self, kind: str, inputs: list[int], output: int, **options: object) -> int:
        """Add an operator and return `output`. `options` are the fields of its option table."""
        code = getattr(schema.BuiltinOperator, kind)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.setdefault(code, len(self.codes))
        operator.inputs, operator.outputs = inputs, [output]
        if options:
            table = OPTIONS[kind]
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = getattr(schema, table + "T")()
            for name, value in options.items():
                setattr(operator.builtinOptions, name, value)
        self.operators.append(operator)
        return output

    def write(self, path: Path, image: int, answer: int) -> None:
        """Write the model to `path`. `image` and `answer` are its input and output tensors."""
        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = [image], [answer]
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for number in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = number
            code.deprecatedBuiltinCode = min(number, 127)
            code.version = 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(builder.Output())


def write_litert(network: Network, path: Path) -> None:
    """Write `network` to `path`; raises ValueError for unsupported layers."""
    graph = Graph()
    size = network.model.input.size
    image = graph.tensor("image", (1, size, size, 3))
    outputs = {-1: image}
    for index, layer in enumerate(network.layers):
        outputs[index] = _convolution(graph, layer, outputs[layer.source])
    bits, channels = network.hash_weight.shape
    pooled = graph.operator(
        "MEAN",
        [outputs[network.hash_source], graph.constant("axes", np.array([1, 2], np.int32))],
        graph.tensor("pooled", (1, channels)),
        keepDims=False,
    )
    weights = [graph.constant("w", network.hash_weight), graph.constant("b", network.hash_bias)]
    logits = graph.operator(
        "FULLY_CONNECTED", [pooled, *weights], graph.tensor("logits", (1, bits)), keepNumDims=False
    )
    graph.write(path, image, graph.operator("LOGISTIC", [logits], graph.tensor("hash", (1, bits))))


def _convolution(graph: Graph, layer: Layer, source: int) -> int:
    total = max((layer.out_size - 1) * layer.stride + layer.window - layer.in_size, 0)
    before, after = total // 2, total - total // 2
    same = layer.pads == (before, before, after, after) or layer.window == 1
    if layer.residual is not None or layer.limit not in (None, 6.0) or not same:
        raise ValueError(f"{layer.name}: residual sum, activation or padding is not supported")
    activation = schema.ActivationFunctionType
    options = {
        "padding": schema.Padding.SAME,
        "strideW": layer.stride,
        "strideH": layer.stride,
        "fusedActivationFunction": activation.NONE if layer.limit is None else activation.RELU6,
    }
    kind, order = "CONV_2D", (0, 2, 3, 1)  # [O, I, H, W] to [O, H, W, I]
    if layer.kind == "depthwise":
        kind, order = "DEPTHWISE_CONV_2D", (1, 2, 3, 0)  # to [1, H, W, O]
        options["depthMultiplier"] = 1
    inputs = [
        source,
        graph.constant(f"{layer.name}.weight", layer.weight.transpose(order)),
        graph.constant(f"{layer.name}.bias", layer.bias),
    ]
    shape = (1, layer.out_size, layer.out_size, layer.outputs)
    return graph.operator(kind, inputs, graph.tensor(layer.name, shape), **options)


def litert(
    network: Network, tensor: Numbers, threads: int, work: Path
) -> tuple[Callable[[], None], Callable[[], Numbers]]:
    """Return functions that set the input `tensor` (float32 [1, 3, size, size]) and run."""
    write_litert(network, work / "net.tflite")
    interpreter = Interpreter(str(work / "net.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    pixels = np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))

    def fill() -> None:
        interpreter.set_tensor(into["index"], pixels)

    def run() -> Numbers:
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(out["index"])[0], np.float32)

    return fill, run
