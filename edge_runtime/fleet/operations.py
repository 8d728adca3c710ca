"""What a version does to a gallery, as a file: gzip'd JSON lines.

The first line is the head. Each other line is one operation. Operations are idempotent and apply in
their order, so a version that is applied twice does the same as once. The same operations make the
same bytes. docs/FLEET.md describes the format.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar

from edge_runtime.errors import FleetFormatError, InputError
from edge_runtime.fleet.kinds import Add, Head, Label, Operation, Reject, Relabel, Remove
from edge_runtime.fleet.parsing import FORMAT, MALFORMED, decoder, from_object, head_from

__all__ = [
    "Add",
    "Head",
    "Label",
    "Operation",
    "Reject",
    "Relabel",
    "Remove",
    "from_object",
    "parse_add",
    "read_version",
    "to_line",
    "to_object",
    "write_version",
]

T = TypeVar("T")
MOST_LINE_BYTES = 1 << 20
MOST_OPERATIONS = 4_000_000
MOST_BYTES = 1 << 32
"""Largest version, uncompressed."""
MOST_SHOWN = 160
"""Characters of a message that come from the file."""
_LEVEL = 9


def write_version(file: IO[bytes], head: Head, operations: Iterable[Operation]) -> None:
    """Write a version to `file`, one line at a time; raises `FleetFormatError`.

    The same arguments write the same bytes.
    """
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        packed.write(_line(_head_object(head)))
        for operation in operations:
            line = to_line(operation)
            if len(line) > MOST_LINE_BYTES:
                raise FleetFormatError(
                    f"longer than {MOST_LINE_BYTES} bytes as a line",
                    where=f"operation of '{type(operation).__name__.lower()}'",
                )
            packed.write(line)


def to_line(operation: Operation, *, source: bool = True) -> bytes:
    """Return an operation as a canonical line of JSON: sorted keys, no spaces, UTF-8.

    Without `source`, it is what the content digest is made of.
    """
    return _line(to_object(operation, source=source))


def to_object(operation: Operation, *, source: bool = True) -> dict[str, Any]:
    """Return an operation as a JSON object with one key, its kind."""
    match operation:
        case Add():
            return {"add": _add_object(operation, source)}
        case Remove(label, digest):
            named = {} if digest is None else {"digest": digest.hex()}
            return {"remove": {"label": label, **named}}
        case Relabel(old, new):
            return {"relabel": {"from": old, "to": new}}
        case Label(label, payload, thumbnail):
            picture = base64.b64encode(thumbnail).decode()
            return {"label": {"label": label, "payload": payload, "thumbnail": picture}}
        case Reject(digest):
            return {"reject": {"digest": digest.hex()}}


def _add_object(add: Add, source: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "label": add.label,
        "digest": add.digest.hex(),
        "codes": [code.hex() for code in add.codes],
    }
    if add.features is not None:
        values["features"] = [base64.b64encode(each).decode() for each in add.features]
    if add.position is not None:
        at = add.position
        # + 0.0: SQLite returns 0.0 for -0.0, and both boards and desk must give the same text.
        given = (at.latitude, at.longitude, at.heading)
        values["position"] = [None if each is None else float(each) + 0.0 for each in given]
    if source and add.source:
        values["source"] = add.source
    return values


def _head_object(head: Head) -> dict[str, Any]:
    return {
        "edge_runtime_fleet": FORMAT,
        "version": head.version,
        "base": head.base,
        "model_id": head.model_id,
        "bits": head.bits,
        "content": head.content,
    }


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def read_version(
    file: IO[bytes], *, most_operations: int = MOST_OPERATIONS, most_bytes: int = MOST_BYTES
) -> tuple[Head, Iterator[Operation]]:
    """Return the head of a version and its operations, read one line at a time.

    `file` stays open until the last one is read. Raises `FleetFormatError`, which names the line,
    also while the operations are read: a caller commits nothing before the last one.
    """
    lines = _lines(file, most_operations, most_bytes)
    number, line = next(lines, (1, b""))
    head = _parsed(number, line, head_from)

    def operations() -> Iterator[Operation]:
        for number, line in lines:
            yield _parsed(number, line, lambda value: from_object(value, head.bits))

    return head, operations()


def parse_add(line: bytes, bits: int) -> Add:
    """Return the operation in a JSON object {"add": ...}; raises `FleetFormatError`."""

    def add(value: dict[str, Any]) -> Add:
        operation = from_object({"add": value["add"]}, bits)
        assert isinstance(operation, Add)
        return operation

    return _parsed(1, line, add)


def _lines(file: IO[bytes], most_operations: int, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines of a gzip'd file; raises `FleetFormatError`."""
    number = total = 0
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            while line := unpacked.readline(MOST_LINE_BYTES + 1):
                number += 1
                total += len(line)
                if total > most_bytes:
                    raise _malformed(number, f"the version is longer than {most_bytes} bytes")
                if number > most_operations + 1:
                    raise _malformed(number, f"more than {most_operations} operations")
                yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _malformed(number + 1, f"not a complete gzip file: {error}") from error


def _parsed(number: int, line: bytes, parse: Callable[[dict[str, Any]], T]) -> T:
    try:
        if len(line) > MOST_LINE_BYTES:
            raise ValueError(f"longer than {MOST_LINE_BYTES} bytes")
        if not line:
            raise ValueError("the file is empty")
        value = decoder.decode(line.decode("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return parse(value)
    except KeyError as error:
        raise _malformed(number, f"{error} is missing") from error
    except InputError as error:
        raise _malformed(number, str(error)) from error
    except MALFORMED as error:
        raise _malformed(number, f"malformed: {error}") from error


def _malformed(number: int, what: str) -> FleetFormatError:
    short = what if len(what) <= MOST_SHOWN else what[:MOST_SHOWN] + "..."
    shown = "".join(each if each.isprintable() else "?" for each in short)
    return FleetFormatError(shown, where=f"line {number}")
