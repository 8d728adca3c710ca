"""The snapshot kept in a file beside the gallery (NAME.codes), so that a large one starts at once.

The file is memory-mapped; it is written whole or not at all, checksummed, and thrown away at the
least doubt: the database is the truth.

Layout, little-endian: magic, CRC-32 of all that follows, `_HEAD`, the labels as JSON; then, each
padded to 64 bytes, ids int64 [n], label ids uint32 [n], codes uint64 [n, W], and (if there are
any) places float64 [n, 3].
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import words_of
from edge_runtime.gallery.rows import Generation
from edge_runtime.gallery.snapshot import Columns, Snapshot, made_of

_MAGIC = b"edgecod2"
_HEAD = struct.Struct("<64sIQ8sQQ?")
"""Model id, bits, generation, its stamp, count, bytes of JSON, whether there are places."""
_ALIGNMENT = 64


def snapshot_path(gallery: Path) -> Path:
    """Where a gallery's snapshot lies."""
    return gallery.with_name(gallery.name + ".codes")


def save_snapshot(path: Path, snapshot: Snapshot, model_id: str) -> None:
    """Write `snapshot` to `path`, whole or not at all; raises OSError."""
    columns = snapshot.columns()
    names = json.dumps(snapshot.labels, ensure_ascii=False).encode()
    placed = columns.places is not None
    head = _HEAD.pack(
        model_id.encode(),
        snapshot.lookup.bits,
        *snapshot.generation,
        len(columns.ids),
        len(names),
        placed,
    )
    arrays: list[NDArray[Any]] = [columns.ids, columns.label_ids, columns.codes]
    if columns.places is not None:
        arrays.append(columns.places)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_MAGIC + bytes(4))
            checksum = 0
            parts: list[bytes | memoryview] = [head + names, *map(_little_endian, arrays)]
            for data in parts:
                padding = bytes(-(file.tell() + len(data)) % _ALIGNMENT)
                for piece in (data, padding):
                    checksum = zlib.crc32(piece, checksum)
                    file.write(piece)
            file.seek(len(_MAGIC))
            file.write(checksum.to_bytes(4, "little"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def load_snapshot(path: Path, model_id: str, bits: int) -> Snapshot | None:
    """The snapshot at `path`, memory-mapped; None if it is not there, not whole, or not ours."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    start = len(_MAGIC) + 4
    try:
        if data[: len(_MAGIC)] != _MAGIC:
            return None
        with memoryview(data) as view, view[start:] as body:
            if zlib.crc32(body) != int.from_bytes(data[len(_MAGIC) : start], "little"):
                return None
        model, its_bits, number, stamp, count, size, placed = _HEAD.unpack_from(data, start)
        if model.decode() != model_id or its_bits != bits:
            return None
        at = start + _HEAD.size
        labels = {int(key): name for key, name in json.loads(data[at : at + size]).items()}
        at += size
        arrays: list[NDArray[Any]] = []
        shapes = [("<i8", (count,)), ("<u4", (count,)), ("<u8", (count, words_of(bits)))]
        for kind, shape in [*shapes, *([("<f8", (count, 3))] if placed else [])]:
            at += -at % _ALIGNMENT
            array = np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape)
            arrays.append(array.astype(array.dtype.newbyteorder("="), copy=False))
            at += array.nbytes
    except (ValueError, struct.error):
        return None
    return made_of(Generation(number, stamp), labels, Columns(*arrays), bits)


def _little_endian(array: NDArray[Any]) -> memoryview:
    return (
        np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
    )
