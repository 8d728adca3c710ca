"""What is scanned: packed codes, derived from the database at one generation.

Kept in a file beside the gallery (NAME.codes) so that a large one starts at once. The file is
memory-mapped; it is written whole or not at all, checksummed, and thrown away at the least doubt:
the database is the truth.

Layout, little-endian: magic, CRC-32 of all that follows, then `_HEAD`, then the labels as JSON,
padding to 64 bytes, ids int64 [n], label ids int64 [n], codes uint64 [n, W].
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, words_of
from edge_runtime.gallery.rows import Generation
from edge_runtime.lookup import Lookup

_MAGIC = b"edgecod1"
_HEAD = struct.Struct("<64sIQ8sQQ")  # model id, bits, generation, its stamp, count, bytes of JSON
_ALIGNMENT = 64


@dataclass(frozen=True)
class Snapshot:
    """A gallery at one generation, in the order of its ids."""

    generation: Generation
    ids: NDArray[np.int64]
    label_ids: NDArray[np.int64]
    lookup: Lookup
    labels: dict[int, str]

    def changed(
        self,
        generation: Generation,
        labels: dict[int, str],
        gone: NDArray[np.int64],
        new: tuple[NDArray[np.int64], NDArray[np.int64], Code],
    ) -> Snapshot:
        """This one without the items `gone`, and with `new` ones (ids, label ids, codes)."""
        keep = ~np.isin(self.ids, gone)
        ids = np.concatenate([self.ids[keep], new[0]])
        order = np.argsort(ids, kind="stable")
        codes = np.concatenate([self.lookup.codes[keep], new[2]])[order]
        return Snapshot(
            generation,
            ids[order],
            np.concatenate([self.label_ids[keep], new[1]])[order],
            Lookup(codes, self.lookup.bits),
            labels,
        )


def snapshot_path(gallery: Path) -> Path:
    """Where a gallery's snapshot lies."""
    return gallery.with_name(gallery.name + ".codes")


def save_snapshot(path: Path, snapshot: Snapshot, model_id: str) -> None:
    """Write `snapshot` to `path`, whole or not at all; raises OSError."""
    names = json.dumps(snapshot.labels, ensure_ascii=False).encode()
    count = len(snapshot.ids)
    head = _HEAD.pack(
        model_id.encode(), snapshot.lookup.bits, *snapshot.generation, count, len(names)
    )
    body = bytearray(head + names)
    body.extend(bytes(-(len(body) + len(_MAGIC) + 4) % _ALIGNMENT))
    for array in (snapshot.ids, snapshot.label_ids, snapshot.lookup.codes):
        body.extend(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
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
        model, its_bits, number, stamp, count, size = _HEAD.unpack_from(data, start)
        if model.decode() != model_id or its_bits != bits:
            return None
        at = start + _HEAD.size
        labels = {int(key): name for key, name in json.loads(data[at : at + size]).items()}
        at += size
        at += -at % _ALIGNMENT
        ids = np.frombuffer(data, "<i8", count, at)
        label_ids = np.frombuffer(data, "<i8", count, at + 8 * count)
        codes = np.frombuffer(data, "<u8", count * words_of(bits), at + 16 * count)
    except (ValueError, struct.error):
        return None
    lookup = Lookup(codes.reshape(count, words_of(bits)).astype(np.uint64, copy=False), bits)
    return Snapshot(Generation(number, stamp), ids, label_ids, lookup, labels)
