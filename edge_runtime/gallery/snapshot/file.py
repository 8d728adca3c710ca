"""The snapshot in a file beside the gallery (NAME.codes), so that a large gallery opens at once.

The file is memory-mapped. It is written atomically and has a checksum. At any doubt it is ignored:
the database is authoritative.

Layout, little-endian: magic, CRC-32 of everything after it, `_HEAD`, the labels as JSON; then, each
padded to 64 bytes, ids int64 [n], label ids uint32 [n], codes uint64 [n, W], if any row has a
position, positions float64 [n, 3], and, if any picture has several rows, pictures int64 [n].
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
from edge_runtime.gallery.snapshot.packed import Columns, Snapshot, snapshot_of

_MAGIC = b"edgecod4"
_OLD_MAGICS = (b"edgecod1", b"edgecod2")  # 3 is not used: one flipped bit would make it 1 or 2
_HEAD = struct.Struct("<64sIQ8sQQ??")
"""Model id, bits, generation, its stamp, rows, bytes of JSON, whether positions and pictures
follow."""
_ALIGNMENT = 64


def snapshot_path(gallery: Path) -> Path:
    """Return the path of a gallery's snapshot file."""
    return gallery.with_name(gallery.name + ".codes")


def is_outdated(path: Path) -> bool:
    """Return whether an older version wrote the file at `path`; it is replaced in due course."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) in _OLD_MAGICS


def save_snapshot(path: Path, snapshot: Snapshot, model_id: str) -> None:
    """Write `snapshot` to `path` atomically; raises OSError."""
    columns = snapshot.columns()
    names = json.dumps(snapshot.labels, ensure_ascii=False).encode()
    head = _HEAD.pack(
        model_id.encode(),
        snapshot.lookup.bits,
        *snapshot.generation,
        len(columns.ids),
        len(names),
        columns.positions is not None,
        columns.pictures is not None,
    )
    optional = (columns.positions, columns.pictures)
    arrays: list[NDArray[Any]] = [columns.ids, columns.label_ids, columns.codes]
    arrays += [array for array in optional if array is not None]
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
    """Return the snapshot at `path`, memory-mapped.

    Returns None if the file is missing, corrupt, or belongs to another model.
    """
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
        model, width, number, stamp, count, size, *has = _HEAD.unpack_from(data, start)
        if model.decode() != model_id or width != bits:
            return None
        offset = start + _HEAD.size
        labels = {int(key): name for key, name in json.loads(data[offset : offset + size]).items()}
        offset += size
        arrays: list[Any] = []
        for present, kind, shape in (
            (True, "<i8", (count,)),
            (True, "<u4", (count,)),
            (True, "<u8", (count, words_of(bits))),
            (has[0], "<f8", (count, 3)),
            (has[1], "<i8", (count,)),
        ):
            if not present:
                arrays.append(None)
                continue
            offset += -offset % _ALIGNMENT
            array = np.frombuffer(data, kind, int(np.prod(shape)), offset).reshape(shape)
            arrays.append(array.astype(array.dtype.newbyteorder("="), copy=False))
            offset += array.nbytes
    except (ValueError, struct.error):
        return None
    return snapshot_of(Generation(number, stamp), labels, Columns(*arrays), bits)


def _little_endian(array: NDArray[Any]) -> memoryview:
    return (
        np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
    )
