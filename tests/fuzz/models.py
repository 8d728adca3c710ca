"""The reader of model files."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.fuzz.reader import Reader
from tests.support.tiny_onnx import TinyModel, message, node, number, tensor


def reader() -> Reader:
    """Return the reader of ONNX files and of the weights beside them."""
    from edge_runtime.engine.portable import PortableEngine
    from edge_runtime.errors import ModelError, ResourceError

    folder = Path(tempfile.mkdtemp(prefix="edge-fuzz-"))
    (folder / "w.bin").write_bytes(TinyModel().weight.tobytes())
    path = folder / "m.onnx"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        engine = PortableEngine(path)
        size = engine.model.input.size
        engine.hash(np.zeros((size, size, 3), np.uint8))

    return Reader("model", seeds, read, (ModelError, ResourceError))


def seeds() -> list[bytes]:
    """Return a small model of each kind."""
    plain = TinyModel()
    raw = plain.weight.tobytes()
    scale = tensor("s", (), np.float32(0.5).tobytes())
    place = message(13, message(1, "location") + message(2, "w.bin"))
    inner = tensor("inner", (4,), None) + place + number(14, 1)
    constant = node("Constant", [], "c", message(5, message(1, "value") + message(5, inner)))
    models = [
        plain,
        replace(plain, location="w.bin"),
        replace(plain, extra_nodes=[node("QuantizeLinear", ["hash", "s"], "q")],
                extra_tensors=[scale]),
        replace(plain, extra_nodes=[constant]),
        replace(plain, metadata={"edge.features": "16", "edge.same_codes_as": "0" * 64}),
        replace(plain, ir_version=99),
        replace(plain, opset=99),
    ]  # fmt: skip
    return [model.encoded(raw) for model in models] + [
        b"version https://git-lfs.github.com/spec/v1\n",
        b"<!DOCTYPE html>",
    ]
