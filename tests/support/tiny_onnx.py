"""A small hash network as an ONNX file, written without the onnx package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE, BITS = 8, 16
FLOAT = 1


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def message(number: int, content: bytes | str) -> bytes:
    """A protobuf field with bytes, a text or a message."""
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(number: int, value: int) -> bytes:
    """A protobuf field with a number."""
    return varint(number << 3) + varint(value)


def weights(seed: int = 0) -> NDArray[np.float32]:
    """The weights of the hash layer, float32 [3 * SIDE * SIDE, BITS]."""
    values = np.random.default_rng(seed).normal(size=(3 * SIDE * SIDE, BITS))
    return values.astype(np.float32)


@dataclass
class TinyModel:
    """Flatten, Gemm (as MatMul), Sigmoid. `write` makes the file; the fields say how."""

    weight: NDArray[np.float32] = field(default_factory=weights)
    location: str = ""
    """The file for the weights; empty: in the ONNX file."""
    ir_version: int = 9
    opset: int = 17
    operator: str = "Sigmoid"
    metadata: dict[str, str] = field(default_factory=dict)
    """Overrides entries of the metadata."""
    extra_nodes: Sequence[bytes] = ()
    extra_tensors: Sequence[bytes] = ()
    offset: int = 0
    entries: dict[str, str] = field(default_factory=dict)
    """Overrides entries of external_data."""

    def write(self, path: Path) -> Path:
        """Write the file `path`, and the weights beside it; return `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = self.weight.tobytes()
        if self.location:
            (path.parent / self.location).write_bytes(b"\0" * self.offset + raw)
        path.write_bytes(self.encoded(raw))
        return path

    def encoded(self, raw: bytes) -> bytes:
        graph = b"".join(message(1, each) for each in self._nodes())
        graph += message(2, "tiny") + message(5, self._tensor(raw))
        graph += b"".join(message(5, each) for each in self.extra_tensors)
        graph += message(11, _value("image", (1, 3, SIDE, SIDE)))
        graph += message(12, _value("hash", (1, BITS)))
        model = number(1, self.ir_version) + message(7, graph)
        model += message(8, message(1, "") + number(2, self.opset))
        for key, value in (self._metadata() | self.metadata).items():
            model += message(14, message(1, key) + message(2, value))
        return model

    def _nodes(self) -> list[bytes]:
        return [
            node("Flatten", ["image"], "flat"),
            node("MatMul", ["flat", "weight"], "sum"),
            node(self.operator, ["sum"], "hash"),
            *self.extra_nodes,
        ]

    def _tensor(self, raw: bytes) -> bytes:
        if not self.location:
            return tensor("weight", self.weight.shape, raw)
        entries = {
            "location": self.location,
            "offset": str(self.offset),
            "length": str(len(raw)),
        } | self.entries
        return tensor("weight", self.weight.shape, None) + b"".join(
            message(13, message(1, key) + message(2, value)) for key, value in entries.items()
        ) + number(14, 1)  # fmt: skip

    def _metadata(self) -> dict[str, str]:
        picture = {"size": SIDE, "geometry": "squash", "colour": "rgb", "scale": 0.01, "offset": -1}
        return {
            "edge.format": "1",
            "edge.name": "tiny",
            "edge.version": "1",
            "edge.bits": str(BITS),
            "edge.threshold": "0.5",
            "edge.bit_order": "little",
            "edge.radius": "4",
            "edge.input": json.dumps(picture),
        }


def node(operator: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    """A NodeProto."""
    named = b"".join(message(1, each) for each in inputs)
    return named + message(2, output) + message(4, operator) + attributes


def tensor(name: str, shape: Sequence[int], raw: bytes | None, data_type: int = FLOAT) -> bytes:
    """A TensorProto with raw_data."""
    data = b"" if raw is None else message(9, raw)
    dims = b"".join(number(1, each) for each in shape)
    return dims + number(2, data_type) + message(8, name) + data


def _value(name: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(message(1, number(1, each)) for each in shape)
    return message(1, name) + message(2, message(1, number(1, FLOAT) + message(2, dims)))
