"""The tensors of an ONNX file, and the one file that holds the model with all its weights.

An exporter may put weights into other files beside the model ("external data"). The model is then
the set of these files: `whole_file` gives the bytes of the one file that holds the same model. Its
digest is the model's id, so other weights are another model, and a copy in one file is the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edge_runtime.errors import ModelInvalidError
from edge_runtime.onnx_file.wire import MESSAGE, VARINT, Field, MalformedError, Source
from edge_runtime.system.files import open_regular

MOST_BYTES = (1 << 31) - 1
"""Bytes of an ONNX file; protobuf allows no more."""
_DEEPEST = 16
"""Levels of graphs within graphs, times four."""
_BLOCK = 1 << 20

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
}
"""The messages of onnx.proto that can contain a tensor, and the numbers of those fields."""
_SMALL = 512
_TELLING = (b"value", b"location", b"Linear")
"""A node or attribute of fewer than _SMALL bytes is read only if it contains one of these: a
constant, weights in another file, or quantization."""


@dataclass(frozen=True)
class Span:
    """Bytes of a file."""

    path: Path
    start: int
    stop: int


Piece = bytes | Span


@dataclass
class Tensor:
    """A constant of the network."""

    name: str = ""
    data_type: int = 0
    """As in onnx.proto: 1 float32, 10 float16, 11 float64, 16 bfloat16."""
    content: list[tuple[int, Span]] = field(default_factory=list)
    """Field numbers (4 float_data, 5 int32_data, 9 raw_data, 10 double_data) and their bytes."""


@dataclass
class Structure:
    """What is known of an ONNX file without running it."""

    pieces: list[Piece]
    """The bytes of the whole file, in order."""
    tensors: list[Tensor]
    scales: set[str]
    """Names of the tensors that are scales of quantized values."""
    has_graph: bool
    files: list[Path]
    """The other files that hold weights."""

    @property
    def size_bytes(self) -> int:
        """Return the length of the whole file."""
        return sum(map(_length, self.pieces))


def read_structure(path: Path, file: BinaryIO) -> Structure:
    """Read the structure of the open ONNX file `file`, found at `path`.

    Raises `MalformedError` if it is none, and `ModelInvalidError` if weights are missing.
    """
    return _Reader(path, file).read()


def blocks(pieces: list[Piece]) -> Iterator[bytes]:
    """Yield the bytes of `pieces`; raises `OSError`, also if a file became shorter."""
    with ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            if piece.path not in files:
                files[piece.path] = stack.enter_context(open_regular(piece.path))
            at = piece.start
            while at < piece.stop:
                block = os.pread(files[piece.path].fileno(), min(_BLOCK, piece.stop - at), at)
                if not block:
                    raise OSError(f"{piece.path} became shorter while it was read")
                at += len(block)
                yield block


class _Reader:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._source = path, Source(file)
        self._tensors: list[Tensor] = []
        self._scales: set[str] = set()
        self._files: dict[str, tuple[Path, int]] = {}
        self._has_graph = False

    def read(self) -> Structure:
        pieces = self._message("model", 0, self._source.size, 0) or []
        if not pieces:
            pieces = [Span(self._path, 0, self._source.size)]
        found = Structure(
            pieces,
            self._tensors,
            self._scales,
            self._has_graph,
            [path for path, _ in self._files.values()],
        )
        if found.size_bytes > MOST_BYTES:
            raise ModelInvalidError(
                f"larger than {MOST_BYTES / 2**30:.0f} GiB with its weights",
                where=self._path,
                remedy="use a smaller network",
            )
        return found

    def _message(self, kind: str, start: int, stop: int, depth: int) -> list[Piece] | None:
        """Read a message; return its bytes with all weights, or None if nothing has to change."""
        if depth > 4 * _DEEPEST:
            raise MalformedError("graphs are nested too deeply")
        children, pieces, done = _CHILDREN[kind], list[Piece](), start
        for each in self._source.fields(start, stop):
            child = children.get(each.number) if each.kind == MESSAGE else None
            if child is None or (child in ("node", "attribute") and self._is_plain(each)):
                continue
            if child == "node":
                self._note_scales(each)
            if child == "tensor":
                changed = self._tensor(each)
            else:
                self._has_graph |= child == "graph"
                changed = self._message(child, each.start, each.stop, depth + 1)
            if changed is not None:
                length = sum(map(_length, changed))
                head = _varint(each.number << 3 | MESSAGE) + _varint(length)
                pieces += [Span(self._path, done, each.tag), head, *changed]
                done = each.stop
        return [*pieces, Span(self._path, done, stop)] if pieces else None

    def _is_plain(self, message: Field) -> bool:
        """Return whether a node or attribute is small and has nothing of interest."""
        if message.stop - message.start >= _SMALL:
            return False
        data = self._source.read(message.start, message.stop)
        return not any(each in data for each in _TELLING)

    def _note_scales(self, node: Field) -> None:
        """Note the inputs of a quantizing node that hold a scale."""
        inputs, kind = list[Field](), ""
        for each in self._source.fields(node.start, node.stop):
            if each.number == 1 and len(inputs) < 8:
                inputs.append(each)
            elif each.number == 4:
                kind = self._source.text(each)
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            self._scales.update(map(self._source.text, inputs[1:2]))
        elif kind in ("QLinearConv", "QLinearMatMul"):
            self._scales.update(self._source.text(inputs[i]) for i in (1, 4, 6) if i < len(inputs))

    def _tensor(self, message: Field) -> list[Piece] | None:
        """Read a tensor; return it with its weights if they are in another file."""
        tensor, entries, external = Tensor(), dict[str, str](), False
        kept = list[Piece]()
        for each in self._source.fields(message.start, message.stop):
            if each.number == 13 and each.kind == MESSAGE:
                key, value = self._entry(each)
                entries[key] = value
                continue
            if each.number == 14 and each.kind == VARINT:
                external = each.value == 1
                continue
            if each.number == 2 and each.kind == VARINT:
                tensor.data_type = each.value
            elif each.number == 8:
                tensor.name = self._source.text(each)
            elif each.number in (4, 5, 9, 10):
                tensor.content.append((each.number, Span(self._path, each.start, each.stop)))
            kept.append(Span(self._path, each.tag, each.stop))
        if external:
            span = self._weights(tensor.name, entries)
            tensor.content = [(9, span)]
            kept += [_varint(9 << 3 | MESSAGE) + _varint(_length(span)), span]
        self._tensors.append(tensor)
        return kept if external else None

    def _entry(self, message: Field) -> tuple[str, str]:
        key = value = ""
        for each in self._source.fields(message.start, message.stop):
            if each.number == 1:
                key = self._source.text(each)
            elif each.number == 2:
                value = self._source.text(each)
        return key, value

    def _weights(self, name: str, entries: dict[str, str]) -> Span:
        """Return where the weights of the tensor `name` are; raises `ModelInvalidError`."""
        location = entries.get("location", "")
        path, size = self._file(location)
        try:
            start = int(entries.get("offset") or "0")
            length = int(entries["length"]) if entries.get("length") else size - start
        except ValueError as error:
            raise MalformedError(f'the place of the weights "{name}" is not a number') from error
        if start < 0 or length < 0 or start + length > size:
            raise ModelInvalidError(
                f'its weights file {location} has {size:,} bytes, but "{name}" ends at byte '
                f"{start + length:,}",
                where=self._path,
                remedy="copy both files again",
            )
        return Span(path, start, start + length)

    def _file(self, location: str) -> tuple[Path, int]:
        """Return the path and size of the weights file `location`; raises `ModelInvalidError`."""
        if location in self._files:
            return self._files[location]
        relative = Path(location)
        if not location or relative.is_absolute() or ".." in relative.parts or "\0" in location:
            raise ModelInvalidError(
                f'its weights are in a file outside its folder: "{location[:80]}"',
                where=self._path,
                remedy="export it again, with the weights in a file beside it",
            )
        path = self._path.parent / relative
        try:
            with open_regular(path) as file:
                found = path, os.fstat(file.fileno()).st_size
                head = file.read(64)
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else error.strerror
            raise ModelInvalidError(
                f"its weights are in a second file: {location[:255]}: {reason}",
                where=self._path,
                remedy="copy that file into the folder of the model too",
            ) from error
        if head.startswith(b"version https://git-lfs"):
            raise ModelInvalidError(
                f"its weights file {location} is a Git LFS pointer, not the weights",
                where=self._path,
                remedy="fetch the file itself: git lfs pull",
            )
        self._files[location] = found
        return found


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.stop - piece.start


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
