"""The snapshot in a file beside the gallery (NAME.codes), so that a large gallery opens at once.

The file is memory-mapped, because reading it takes twice as long as a fresh process needs for all
else. It is written atomically and has a checksum. At any doubt it is ignored: the database is
authoritative. If it is cut while it is mapped, or its disk fails, a `CodesFile` says so.

Layout, little-endian: magic, CRC-32 of everything after it, `_HEAD`, the labels as JSON; then, each
padded to 64 bytes, ids int64 [n], label ids uint32 [n], codes uint64 [n, W], if any row has a
position, positions float64 [n, 3], and, if any picture has several rows, pictures int64 [n].
"""

from __future__ import annotations

import json
import logging
import mmap
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
from edge_runtime.gallery.upkeep.ownership import give, ownership_of
from edge_runtime.lookup.compiled import hamming
from edge_runtime.system.durable import replacing
from edge_runtime.system.files import open_regular

log = logging.getLogger(__name__)

_MAGIC = b"edgecod4"
_OLD_MAGICS = (b"edgecod1", b"edgecod2")  # 3 is not used: one flipped bit would make it 1 or 2
_HEAD = struct.Struct("<64sIQ8sQQ??")
"""Model id, bits, generation, its stamp, rows, bytes of JSON, whether positions and pictures
follow."""
_ALIGNMENT = 64
SUFFIX = ".codes"


def snapshot_path(gallery: Path) -> Path:
    """Return the path of a gallery's snapshot file."""
    return gallery.with_name(gallery.name + SUFFIX)


def is_outdated(path: Path) -> bool:
    """Return whether an older version wrote the file at `path`; it is replaced in due course."""
    with open_regular(path) as file:
        return file.read(len(_MAGIC)) in _OLD_MAGICS


def saved_rows(path: Path, model_id: str, bits: int) -> tuple[Generation, int] | None:
    """Return the generation of the snapshot file at `path` and its last id, from its head.

    None if there is no such file for this model. Its checksum is not verified.
    """
    start = len(_MAGIC) + 4
    try:
        with open_regular(path) as file:
            head = file.read(start + _HEAD.size)
            model, width, number, stamp, count, size, *_ = _HEAD.unpack_from(head, start)
            if head[: len(_MAGIC)] != _MAGIC or model.decode() != model_id or width != bits:
                return None
            begin = start + _HEAD.size + size
            file.seek(begin + -begin % _ALIGNMENT + 8 * (count - 1))
            last = int.from_bytes(file.read(8), "little") if count else 0
    except (OSError, ValueError, OverflowError, struct.error):
        return None
    return Generation(number, stamp), last


def save_snapshot(path: Path, snapshot: Snapshot, model_id: str) -> None:
    """Write `snapshot` to `path` atomically and durably; raises OSError."""
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
    with replacing(path) as temporary, temporary.open("wb") as file:
        database = ownership_of(path.with_name(path.name.removesuffix(SUFFIX)))
        if database is not None:
            with suppress(OSError):
                give(file.fileno(), database)
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


class CodesFile(mmap.mmap):
    """A snapshot file, mapped. Arrays of its content keep it alive."""

    path: Path
    _number = -1

    @classmethod
    def at(cls, path: Path) -> CodesFile | None:
        """Return the file at `path`; None if it is missing, empty or unreadable."""
        try:
            with open_regular(path) as file:
                mapped = cls(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s: %s; the database is read instead", path, error)
            return None
        mapped.path = path
        if hamming is not None:
            mapped._number = hamming.watch(mapped)
        return mapped

    def whole(self) -> bool:
        """Return whether all that was read from the file until now was in the file."""
        lost = hamming is not None and hamming.lost(self._number)
        try:
            return not lost and self.size() == len(self)
        except OSError:
            return False

    def __del__(self) -> None:
        """Before the pages are unmapped: watch them no longer."""
        if hamming is not None:
            hamming.forget(self._number)


def load_snapshot(path: Path, model_id: str, bits: int) -> Snapshot | None:
    """Return the snapshot at `path`, memory-mapped; see `read_snapshot`."""
    data = CodesFile.at(path)
    return None if data is None else read_snapshot(data, model_id, bits)


def read_snapshot(data: CodesFile, model_id: str, bits: int) -> Snapshot | None:
    """Return the snapshot in `data`; None if it is corrupt, or belongs to another model."""
    start = len(_MAGIC) + 4
    try:
        if data[: len(_MAGIC)] != _MAGIC:
            return None
        with memoryview(data) as view, view[start:] as body:
            if zlib.crc32(body) != int.from_bytes(data[len(_MAGIC) : start], "little"):
                log.warning("%s: corrupt; the database is read instead", data.path)
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
    if not data.whole():
        return None
    return snapshot_of(Generation(number, stamp), labels, Columns(*arrays), bits)


def _little_endian(array: NDArray[Any]) -> memoryview:
    return (
        np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
    )
