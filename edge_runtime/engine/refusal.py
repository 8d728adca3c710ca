"""Why ONNX Runtime or onnx refuses a model, in one line."""

from __future__ import annotations

import os
import re

from edge_runtime.errors import EdgeRuntimeError, ModelInvalidError
from edge_runtime.onnx_file.checks import COPY_AGAIN, EXPORT_AGAIN
from edge_runtime.shortage import shortage

_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?")
_PLACE = re.compile(r"^\S*/onnxruntime/\S+:\d+ .*?\) (?=[A-Z])")
_IR = re.compile(r"IR version: (\d+), max supported IR version: (\d+)")
_OPSET = re.compile(r"Opset (\d+) is under development.* for domain (\S+) is till opset (\d+)")
_LONGEST = 300


def refusal(error: Exception, path: str | os.PathLike[str], version: str) -> EdgeRuntimeError:
    """Return the error for a model file that ONNX Runtime `version` cannot load.

    A `ResourceError` if memory is missing, else a `ModelInvalidError`.
    """
    if fault := shortage(error, path):
        return fault
    text = " ".join(str(error).split())
    text = _PLACE.sub("", _PREFIX.sub("", text)).strip()
    update = "update onnxruntime, or export the model for an older version"
    if found := _IR.search(text):
        what = (
            f"its IR version {found[1]} is too new: ONNX Runtime {version} reads up to {found[2]}"
        )
        return ModelInvalidError(what, where=path, remedy=update)
    if found := _OPSET.search(text):
        what = (
            f"its opset {found[1]} is too new: ONNX Runtime {version} supports up to {found[3]} "
            f"of {found[2]}"
        )
        return ModelInvalidError(what, where=path, remedy=update)
    if isinstance(error, UnicodeDecodeError):  # raised while ONNX Runtime words its message
        return ModelInvalidError(
            "corrupt: a name in it is not UTF-8", where=path, remedy=COPY_AGAIN
        )
    if "Protobuf parsing failed" in text:
        return ModelInvalidError("corrupt: it cannot be parsed", where=path, remedy=COPY_AGAIN)
    remedy = update if _lacks_operator(text) else EXPORT_AGAIN
    return ModelInvalidError(
        f"ONNX Runtime {version} cannot run it: {text[:_LONGEST]}", where=path, remedy=remedy
    )


def _lacks_operator(text: str) -> bool:
    return any(
        each in text
        for each in ("No Op registered", "not a registered function", "Could not find an impl")
    )
