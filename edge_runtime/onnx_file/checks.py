"""Refuse files that are not ONNX models, and models that cannot give a usable code."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelInvalidError
from edge_runtime.onnx_file.structure import (
    MOST_BYTES,
    Structure,
    Tensor,
    blocks,
    read_structure,
)
from edge_runtime.onnx_file.wire import MalformedError, TruncatedError
from edge_runtime.system.files import describe_pointer, open_regular

COPY_AGAIN = "copy the model file again"
EXPORT_AGAIN = "export it again with training/, or use a model of models/"
_HEAD = 512
_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16
_FORMATS = (
    (b"PK\x03\x04", "a zip archive or a PyTorch file"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x89HDF\r\n", "an HDF5 (Keras) file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"SQLite format 3\0", "an SQLite database, such as a gallery"),
    (b"\xff\xd8\xff", "a JPEG photo"),
    (b"\x89PNG", "a PNG image"),
    (b"\x7fELF", "a program or library"),
    (b"%PDF", "a PDF document"),
)
"""First bytes of other files, and what to call them."""


def describe_foreign(head: bytes) -> tuple[str, str] | None:
    """Return what a file is that begins with `head`, and the remedy; None if it may be a model."""
    if pointer := describe_pointer(head):
        return pointer
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model, not an ONNX model", EXPORT_AGAIN
    if head[4:8] == b"ORTM":
        return "a model in ONNX Runtime's own format, not an ONNX model", EXPORT_AGAIN
    for magic, name in _FORMATS:
        if head.startswith(magic):
            return f"{name}, not an ONNX model", "check the path"
    if head and not head.strip(b"\0"):
        return "a file of zeros", COPY_AGAIN
    if len(head) > 3 and _is_text(head):
        line = head.decode(errors="replace").strip().split("\n")[0][:60]
        return f'a text that begins with "{_printable(line)}", not an ONNX model', "check the path"
    return None


def read_model_file(path: str | os.PathLike[str]) -> Structure:
    """Check the ONNX file `path` and its weights; return its structure.

    Raises `ModelInvalidError` with the reason if it is not a model, if it is incomplete, or if a
    weight is not a finite number or a scale is not above 0. Raises `OSError` if it cannot be read.
    """
    place = Path(path)
    with open_regular(place) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise _invalid("the file is empty", place, COPY_AGAIN)
        if size > MOST_BYTES:
            raise _invalid(f"{size / 2**30:.1f} GiB: too large for an ONNX model", place)
        if foreign := describe_foreign(file.read(_HEAD)):
            raise _invalid(f"this is {foreign[0]}", place, foreign[1])
        try:
            found = read_structure(place, file)
        except TruncatedError as error:
            raise _invalid(f"the file is incomplete: {error}", place, COPY_AGAIN) from error
        except MalformedError as error:
            raise _invalid(f"corrupt, or not an ONNX model: {error}", place, COPY_AGAIN) from error
    if not found.has_graph:
        raise _invalid("not an ONNX model: it contains no graph", place, "check the path")
    for tensor in found.tensors:
        _check_values(tensor, tensor.name in found.scales, place)
    return found


def _check_values(tensor: Tensor, is_scale: bool, where: Path) -> None:
    for number, span in tensor.content:
        kind = _type(tensor.data_type, number)
        if kind is None:
            continue
        rest = b""
        for block in blocks([span]):
            data = rest + block
            whole = len(data) - len(data) % kind.itemsize
            values, rest = _values(data[:whole], kind, tensor.data_type), data[whole:]
            if not _is_finite(values):
                raise _invalid(
                    f'the weights "{_printable(tensor.name[:80])}" are not all finite numbers',
                    where,
                    "train or export the model again",
                )
            if is_scale and not (values > 0).all():
                raise _invalid(
                    f'the quantization scale "{_printable(tensor.name[:80])}" is not above 0',
                    where,
                    "quantize the model again",
                )


def _type(data_type: int, number: int) -> np.dtype[np.generic] | None:
    """Return how the values of a tensor are stored in the field `number`; None: not as floats."""
    raw = {_FLOAT: "<f4", _FLOAT16: "<f2", _DOUBLE: "<f8", _BFLOAT16: "<u2"}
    name = {4: "<f4", 10: "<f8", 9: raw.get(data_type)}.get(number)
    return None if name is None else np.dtype(name)


def _values(data: bytes, kind: np.dtype[np.generic], data_type: int) -> NDArray[np.floating]:
    values = np.frombuffer(data, kind)
    if data_type == _BFLOAT16 and kind.kind == "u":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _is_finite(values: NDArray[np.floating]) -> bool:
    """Return whether all `values` are finite; their sum is, unless it overflows."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def _is_text(head: bytes) -> bool:
    return not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", head)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _invalid(what: str, where: Path, remedy: str = EXPORT_AGAIN) -> ModelInvalidError:
    return ModelInvalidError(what, where=where, remedy=remedy)
