"""Edit a foreign ONNX hash network: prepend preprocessing and expose its output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from edge_runtime.engine.portable import OUTPUT
from edge_runtime.errors import ModelInvalidError
from training.onnx.model_description import CHANNELS
from training.onnx.model_file import IMAGE

Channels = NDArray[np.float32] | None
"""A number for each, [3]; None: nothing to do."""


def input_nodes(
    image: str, kind: int, layout: str, color: str, mean: Channels, std: Channels
) -> list[onnx.NodeProto]:
    """Return nodes that convert `IMAGE`, float32 [1, 3, S, S] RGB, to the foreign input.

    The result has the foreign channel order and layout. Constants are nodes because old files
    require every initializer to be an input as well.
    """
    nodes: list[onnx.NodeProto] = []
    value = IMAGE

    def then(operator: str, *constants: NDArray[Any], **attributes: Any) -> None:
        nonlocal value
        names = [f"{IMAGE}.{len(nodes)}.{place}" for place in range(len(constants))]
        for name, constant in zip(names, constants, strict=True):
            tensor = numpy_helper.from_array(constant, name)
            nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        out = f"{IMAGE}.{len(nodes)}"
        nodes.append(helper.make_node(operator, [value, *names], [out], name=out, **attributes))
        value = out

    if color == "bgr":
        then("Gather", np.array([2, 1, 0], np.int64), axis=1)
    if mean is not None and std is not None:
        then("Sub", mean.reshape(1, CHANNELS, 1, 1))
        then("Div", std.reshape(1, CHANNELS, 1, 1))
    if layout == "nhwc":
        then("Transpose", perm=[0, 2, 3, 1])
    if kind != TensorProto.FLOAT:
        then("Cast", to=kind)
    if nodes:
        nodes[-1].output[0] = image
    return nodes


def prepend_nodes(
    graph: onnx.GraphProto, image: str, nodes: list[onnx.NodeProto], size: int
) -> None:
    """Put `nodes` before the graph, in place of its input `image`; `IMAGE` becomes the input."""
    if not nodes:
        _rename(graph, image, IMAGE)
    rest = [each for each in graph.input if each.name not in (image, IMAGE)]
    del graph.input[:]
    shape = [1, CHANNELS, size, size]
    graph.input.extend([helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, shape), *rest])
    theirs = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *theirs])


def expose_output(model: onnx.ModelProto, output: str, size: int, path: Path) -> int:
    """Make `output` the only output, named `OUTPUT`, float32 [1, K]; return K."""
    graph = model.graph
    wanted = next(each for each in graph.output if each.name == output)
    del graph.output[:]
    graph.output.append(helper.make_empty_tensor_value_info(output))
    found = _tried(model, size, path)
    large = [each for each in found.shape if each != 1]
    if len(large) > 1 or not found.size:
        what = f"its output is {list(found.shape)} for one photo, not a vector of activations"
        raise ModelInvalidError(
            what, where=path, remedy="name another with --output, or export the codes"
        )
    value, kind = output, wanted.type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        graph.node.append(
            helper.make_node("Cast", [value], [f"{OUTPUT}.float"], to=TensorProto.FLOAT)
        )
        value = f"{OUTPUT}.float"
    if found.shape == (1, found.size):
        if value == output:
            _rename(graph, output, OUTPUT)
        else:
            graph.node[-1].output[0] = OUTPUT
    else:
        shape = numpy_helper.from_array(np.array([1, found.size], np.int64), f"{OUTPUT}.shape")
        graph.node.append(helper.make_node("Constant", [], [shape.name], value=shape))
        graph.node.append(helper.make_node("Reshape", [value, shape.name], [OUTPUT]))
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, int(found.size)])
    )
    return int(found.size)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    compose.add_prefix_graph(
        graph, "", rename_edges=False, rename_inputs=False, rename_outputs=False,
        rename_initializers=False, rename_value_infos=False, inplace=True, name_map={old: new},
    )  # fmt: skip


def _tried(model: onnx.ModelProto, size: int, path: Path) -> NDArray[Any]:
    """Return the model's output for a gray photo."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    gray = np.full((1, CHANNELS, size, size), 0.5, np.float32)
    try:
        run = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found: NDArray[Any] = np.asarray(run.run(None, {IMAGE: gray})[0])
    except Exception as error:  # ONNX Runtime's own classes share no public base
        first = str(error).partition("\n")[0][-200:]
        what = f"ONNX Runtime cannot run it on one photo of {size} pixels: {first}"
        raise ModelInvalidError(
            what, where=path, remedy="check --size and --layout, or export it again"
        ) from error
    return found
