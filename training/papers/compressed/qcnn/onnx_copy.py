"""Write a network as ONNX: for its accuracy, and for ONNX Runtime as a contender.

The tables of a coded layer give the sums that its restored weights give, up to rounding. So the
accuracy of the Quantized CNN is that of an ordinary network with the restored weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from training.papers.compressed.qcnn.layers import (
    DENSE,
    DEPTHWISE,
    FLATTEN,
    MAX_POOL,
    Floats,
    Layer,
    Network,
)

OPSET, IR_VERSION = 17, 9
IMAGE, ANSWER = "image", "answer"


def to_onnx(network: Network) -> onnx.ModelProto:
    """Return the network with input `image` [1, channels, size, size] and output `answer`."""
    limits = (("low", 0), ("high", 6)) if any(_is_clipped(each) for each in network.layers) else ()
    weights = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in limits]
    nodes: list[onnx.NodeProto] = []
    value = IMAGE
    for number, layer in enumerate(network.layers):
        made = f"layer{number}"
        nodes += _nodes(layer, value, made)
        value = nodes[-1].output[0]
        if layer.weight.size:
            shape = layer.weight.shape[:2] if layer.in_size == 1 else layer.weight.shape
            weight = np.ascontiguousarray(layer.weight, np.float32).reshape(shape)
            weights.append(numpy_helper.from_array(weight, f"{made}.weight"))
            weights.append(numpy_helper.from_array(layer.bias.astype(np.float32), f"{made}.bias"))
    nodes[-1].output[0] = ANSWER
    image = [1, network.channels, network.size, network.size]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(ANSWER, TensorProto.FLOAT, [1, network.layers[-1].outputs])],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _is_clipped(layer: Layer) -> bool:
    return layer.activation == "relu6"


def _nodes(layer: Layer, value: str, made: str) -> list[onnx.NodeProto]:
    names = [value, f"{made}.weight", f"{made}.bias"]
    square = {"kernel_shape": [layer.window] * 2, "strides": [layer.stride] * 2}
    if layer.kind in (DENSE, DEPTHWISE) and layer.in_size > 1:
        needed = (layer.out_size - 1) * layer.stride + layer.window
        after = max(needed - layer.in_size - layer.pad, 0)
        pads = [layer.pad, layer.pad, after, after]
        nodes = [helper.make_node("Conv", names, [made], group=layer.groups, pads=pads, **square)]
    elif layer.kind == DENSE:
        nodes = [helper.make_node("Gemm", names, [made], transB=1)]
    elif layer.kind == MAX_POOL:
        nodes = [helper.make_node("MaxPool", [value], [made], **square)]
    elif layer.kind == FLATTEN:
        nodes = [helper.make_node("Flatten", [value], [made])]
    else:
        nodes = [
            helper.make_node("GlobalAveragePool", [value], [f"{made}.mean"]),
            helper.make_node("Flatten", [f"{made}.mean"], [made]),
        ]
    if layer.activation:
        kind = {"relu": "Relu", "relu6": "Clip", "sigmoid": "Sigmoid"}[layer.activation]
        limits = ["low", "high"] if _is_clipped(layer) else []
        nodes.append(helper.make_node(kind, [made, *limits], [f"{made}.active"]))
    return nodes


class _Pictures(CalibrationDataReader):
    def __init__(self, pictures: Iterable[Floats]):
        self._left: Iterator[Floats] = iter(pictures)

    def get_next(self) -> dict[str, Floats] | None:
        picture = next(self._left, None)
        return None if picture is None else {IMAGE: picture[None]}


def to_int8(network: Network, pictures: Floats, out: Path) -> None:
    """Write an int8 (QDQ) version at `out`, calibrated on pictures [N, channels, size, size].

    The settings are those of `python -m training quantize`.
    """
    plain = out.with_suffix(".plain.onnx")
    onnx.save(to_onnx(network), plain)
    quantize_static(
        str(plain), str(out), _Pictures(pictures), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    plain.unlink()


def codes_of(run: Callable[[Floats], Floats], pictures: Iterable[Floats]) -> NDArray[np.bool_]:
    """Return the bits [N, K] that `run` gives for pictures [channels, size, size]."""
    return np.concatenate([run(picture[None]) > 0.5 for picture in pictures])
