"""The reader of a fleet's versions: gzip'd JSON lines that are applied to a gallery."""

from __future__ import annotations

import gzip
import io
import zlib

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.fleet.kinds import Head, Label, Operation, Reject, Relabel, Remove
from edge_runtime.fleet.operations import read_version, write_version
from tests.fuzz.reader import Reader
from tests.support.fleet import picture

MOST_BYTES = 1 << 24
"""As much as an input may unpack to here. A board reads more, line by line as well."""


def reader() -> Reader:
    """Return the reader. An input that is not compressed is compressed before it is read, so that
    mutations reach the lines."""
    return Reader("versions", seeds, read, (EdgeRuntimeError,))


def read(data: bytes) -> object:
    """Read all operations of a version."""
    if not data.startswith(b"\x1f\x8b"):
        data = gzip.compress(data, 1)
    head, operations = read_version(io.BytesIO(data), most_bytes=MOST_BYTES)
    return head, sum(1 for _ in operations)


def seeds() -> list[bytes]:
    """Return a delta and a full file, compressed and as lines."""
    operations: list[Operation] = [
        picture("cat", 1),
        picture("dog", 2, features=True),
        Remove("cat", bytes(32)),
        Remove("dog", None),
        Relabel("a", "b"),
        Label("cat", "{}", b"\xff\xd8"),
        Reject(bytes(32)),
    ]
    files = []
    for base in (1, None):
        file = io.BytesIO()
        write_version(file, Head(2, base, "f" * 64, 64, "0" * 64), operations)
        files.append(file.getvalue())
    bomb = zlib.compressobj(9, wbits=31)
    return [
        *files,
        *(gzip.decompress(file) for file in files),
        bomb.compress(bytes(1 << 26)) + bomb.flush(),
    ]
