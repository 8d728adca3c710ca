"""Convert a foreign ONNX hash model into a copy that describes itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from edge_runtime.engine.portable import OUTPUT
from edge_runtime.errors import InputError, ModelInvalidError
from edge_runtime.model import InputSpec, ModelInfo, identify, parse_metadata
from training.files import write_bytes
from training.onnx.model_description import CHANNELS, ModelDescription
from training.onnx.preprocess_nodes import Channels, expose_output, input_nodes, prepend_nodes

ADOPTED = "edge.adopted"  # metadata key: JSON of how a foreign model was imported
_SPREAD = 0.2  # share of the bits: default radius when none was measured
_PREFIX = "theirs/"  # keeps the foreign graph's names distinct from ours
_MIDDLE = {"Sigmoid": 0.5, "HardSigmoid": 0.5, "Tanh": 0.0, "Softsign": 0.0, "Sign": 0.0}
"""Last operator to the middle of its range."""
_SHAPING = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Transpose"}
_TAKES = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8}
_Dims = list[int | None]


def read_model(path: Path) -> onnx.ModelProto:
    """Read the ONNX file `path`.

    Raises ModelNotFoundError, or ModelInvalidError when it is not an ONNX model.
    """
    identify(path)
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's errors share no base
        raise _invalid(
            path, "corrupt, or not an ONNX model", "copy the model file again"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise _invalid(path, "corrupt, or not an ONNX model", "copy the model file again")
    return model


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the model's metadata entries."""
    return {entry.key: entry.value for entry in model.metadata_props}


def import_model(path: Path, given: ModelDescription) -> onnx.ModelProto:
    """Return a copy of the foreign model `path` that describes itself, by the options `given`.

    Raises ModelInvalidError when it is not an image hash network or the description is incomplete,
    and InputError when the description contradicts the file.
    """
    model = read_model(path)
    if "edge.format" in metadata_of(model):
        raise _invalid(path, "the model already describes itself", "use it as it is")
    image, dims = _image(model.graph, path)
    layout = _layout(dims, given, path)
    output = _output(model.graph, given, path)
    threshold = given.threshold if given.threshold is not None else _middle(model.graph, output)
    size = _side(dims, layout, given, path)
    known = {"--size": size, "--layout": layout, "--scale": given.scale, "--threshold": threshold}
    if missing := [option for option, value in known.items() if value is None]:
        raise _invalid(
            path,
            f"it has no edge.* metadata, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            "describe it: python -m training import-model --help",
        )
    assert size and layout and given.scale and threshold is not None
    spec, mean, std = _values(given, given.scale, size)
    kind = image.type.tensor_type.elem_type
    if kind == TensorProto.UINT8 and ((spec.scale, spec.offset) != (1, 0) or mean is not None):
        raise InputError(
            "its input is uint8: it takes pixels as they are", where=path, remedy="give --scale 1"
        )
    ours = onnx.ModelProto()
    ours.CopyFrom(model)
    compose.add_prefix(ours, _PREFIX, rename_functions=False, inplace=True)
    nodes = input_nodes(_PREFIX + image.name, kind, layout, given.color or "rgb", mean, std)
    del ours.graph.value_info[:]  # of the foreign batch and side
    prepend_nodes(ours.graph, _PREFIX + image.name, nodes, size)
    bits = expose_output(ours, _PREFIX + output, size, path)
    radius = given.radius if given.radius is not None else round(_SPREAD * bits)
    if radius > bits:
        raise InputError(f"{radius} is more than the {bits} bits", where="--radius")
    info = ModelInfo(
        id="", path="", size_bytes=0, name=given.name or path.stem, version="", bits=bits,
        threshold=threshold, radius=radius, input=spec,
    )  # fmt: skip
    story = {
        "original": identify(path)[0], "layout": layout, "colour": given.color or "rgb",
        "mean": given.mean, "std": given.std, "scale": given.scale, "offset": given.offset or 0.0,
        "output": output, "assumed": _assumed(given, radius, threshold),
    }  # fmt: skip
    parse_metadata(
        info.to_metadata(), path=path, model_id="", size_bytes=0
    )  # validates the metadata
    del ours.metadata_props[:]
    helper.set_model_props(ours, {**info.to_metadata(), ADOPTED: json.dumps(story)})
    return ours


@contextmanager
def self_described(path: Path, given: ModelDescription) -> Iterator[Path]:
    """Yield `path` if the model describes itself, else a temporary copy that does.

    Raises InputError when a model that describes itself is described once more.
    """
    if "edge.format" in metadata_of(read_model(path)):
        if given.options:
            raise InputError(
                "the model describes itself",
                where=path,
                remedy=f"leave out {' '.join(given.options)}",
            )
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="adopted-") as folder:
        copy = Path(folder) / path.name
        write_bytes(copy, import_model(path, given).SerializeToString(deterministic=True))
        yield copy


def description(path: Path, info: ModelInfo) -> dict[str, Any]:
    """Describe the input and output of `path` for results, and how it was imported."""
    entries = metadata_of(onnx.load(path, load_external_data=False))
    story = {"adopted": json.loads(entries[ADOPTED])} if ADOPTED in entries else {}
    return {**asdict(info.input), "threshold": info.threshold, **story}


def input_summary(found: dict[str, Any]) -> str:
    """Format a description on one line."""
    story = found.get("adopted", {})
    value = "pixel * {scale:.6g} {offset:+.6g}".format(**(story or found))
    if story.get("mean") or story.get("std"):
        value = f"({value} - {story['mean'] or 0}) / {story['std'] or 1}"
    line = (
        f"{found['size']} x {found['size']} pixels, {found['geometry']},"
        f" {story.get('colour', found['colour'])}, value = {value},"
        f" bits above {found['threshold']:g}"
    )
    if not story:
        return line
    assumed = f"; assumed: {', '.join(story['assumed'])}" if story["assumed"] else ""
    return f"{line}; adopted, {story['layout']}, output {story['output']}{assumed}"


def _invalid(path: Path, what: str, remedy: str) -> ModelInvalidError:
    return ModelInvalidError(what, where=path, remedy=remedy)


def _image(graph: onnx.GraphProto, path: Path) -> tuple[onnx.ValueInfoProto, _Dims]:
    """Return the only input and its dimensions; None marks a free dimension."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        what = f"it has {len(inputs)} inputs ({names}), a hash network has one, the photo"
        raise _invalid(path, what, "export the part that makes codes of photos")
    tensor = inputs[0].type.tensor_type
    dims: _Dims = [each.dim_value if each.dim_value > 0 else None for each in tensor.shape.dim]
    shown = [CHANNELS if each is None else each for each in dims]
    if len(dims) != 4 or CHANNELS not in (shown[1], shown[3]) or tensor.elem_type not in _TAKES:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        what = (
            f"its input {inputs[0].name} is {_shown(dims)} of {kind}, not a photo of three channels"
        )
        raise _invalid(path, what, "a photo is [1, 3, S, S] or [1, S, S, 3] of floats or uint8")
    if dims[0] not in (None, 1):
        raise _invalid(path, f"it takes {dims[0]} photos at once", "export it with batch 1 or free")
    return inputs[0], dims


def _shown(dims: _Dims) -> str:
    return f"[{', '.join('?' if each is None else str(each) for each in dims)}]"


def _layout(dims: _Dims, given: ModelDescription, path: Path) -> str | None:
    """Return the layout, given or read from the dimensions; raise InputError if they differ."""
    places = {"nchw": dims[1], "nhwc": dims[3]}
    if given.layout:
        if places[given.layout] not in (None, CHANNELS):
            raise InputError(f"{path} takes {_shown(dims)}, not {given.layout}", where="--layout")
        return given.layout
    for fitting in ({CHANNELS}, {CHANNELS, None}):
        found = [layout for layout, channels in places.items() if channels in fitting]
        if len(found) == 1:
            return found[0]
    return None


def _side(dims: _Dims, layout: str | None, given: ModelDescription, path: Path) -> int | None:
    """Return the side of the square in pixels, given or from the file; None if neither has it.

    Raises InputError when the two differ.
    """
    if layout is None:
        return given.size
    sides = {each for each in (dims[2:] if layout == "nchw" else dims[1:3]) if each}
    if len(sides) > 1:
        what = f"its input {_shown(dims)} is not square"
        raise _invalid(path, what, "the runtime squashes photos to a square")
    side = next(iter(sides), given.size)
    if given.size not in (None, side):
        raise InputError(f"{path} takes {_shown(dims)}, not {given.size} pixels", where="--size")
    return side


def _output(graph: onnx.GraphProto, given: ModelDescription, path: Path) -> str:
    names = [each.name for each in graph.output]
    wanted = given.output or (OUTPUT if OUTPUT in names else names[0])
    if wanted not in names:
        raise InputError(
            f"{path} has no output {wanted}", where="--output", remedy=f"it has {', '.join(names)}"
        )
    if len(names) > 1 and not given.output and OUTPUT not in names:
        what = f"it has {len(names)} outputs ({', '.join(names)}), and --output is missing"
        raise _invalid(path, what, "name the one that codes are made of")
    return wanted


def _middle(graph: onnx.GraphProto, output: str) -> float | None:
    """Return the middle of the last operator's output range, or None if it is unbounded."""
    made_by = {name: node for node in graph.node for name in node.output}
    while (node := made_by.get(output)) and node.op_type in _SHAPING:
        output = node.input[0]
    return _MIDDLE.get(node.op_type) if node else None


def _values(
    given: ModelDescription, scale: float, size: int
) -> tuple[InputSpec, Channels, Channels]:
    """Return the runtime's input spec and the remaining mean and std [3] for the graph.

    When all channels are treated alike, scale and offset suffice and nothing remains.
    """
    mean, std = given.mean or (0.0,) * CHANNELS, given.std or (1.0,) * CHANNELS
    offset = given.offset or 0.0
    if len(set(mean)) == len(set(std)) == 1:
        spec = InputSpec(size=size, scale=scale / std[0], offset=(offset - mean[0]) / std[0])
        return spec, None, None
    spec = InputSpec(size=size, scale=scale, offset=offset)
    return spec, np.array(mean, np.float32), np.array(std, np.float32)


def _assumed(given: ModelDescription, radius: int, threshold: float) -> list[str]:
    """Return the options that were not given, with their default values."""
    taken = {"color": "rgb", "radius": radius, "threshold": f"{threshold:g} (its last operator)"}
    return [f"{key}={value}" for key, value in taken.items() if getattr(given, key) is None]
