"""Read and write binary index files of faiss: IndexBinaryFlat, and IndexBinaryIDMap around one.

The files are little-endian. A header consists of a four-letter kind, dimension int32 (bits), code
size int32 (bytes), count int64, trained uint8 and metric int32. A vector is its length uint64,
followed by its elements. A flat index ("IBxF") is a header and the bytes of its codes. An id map
("IBMp", "IBM2") is a header, a flat index, and its ids int64. faiss packs bits as this program
does: bit i is bit i % 8 of byte i // 8. The files have no checksums and name neither labels nor a
model.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("<4siiqBi")
_LENGTH = struct.Struct("<Q")
_FLAT, _MAPS = b"IBxF", (b"IBMp", b"IBM2")


@dataclass(frozen=True)
class FaissCodes:
    """The content of a file."""

    bits: int
    octets: NDArray[np.uint8]
    """[n, bits / 8]"""
    ids: NDArray[np.int64]
    """[n]; 0, 1, ... for an index without ids."""


def write_faiss(file: IO[bytes], codes: FaissCodes) -> None:
    """Write an IndexBinaryIDMap. The number of bits must be a multiple of 8."""
    count, size = codes.octets.shape
    header = (codes.bits, size, count, 1, 1)
    file.write(_HEADER.pack(_MAPS[0], *header) + _HEADER.pack(_FLAT, *header))
    file.write(_LENGTH.pack(codes.octets.size) + codes.octets.tobytes())
    file.write(_LENGTH.pack(count) + codes.ids.astype("<i8").tobytes())


def read_faiss(data: bytes) -> FaissCodes:
    """Read an index of either kind; raises ValueError."""
    kind, bits, size, count, offset = _read_header(data, 0)
    if kind in _MAPS:
        inner, inner_bits, _, inner_count, offset = _read_header(data, offset)
        if (inner, inner_bits, inner_count) != (_FLAT, bits, count):
            raise ValueError("the id map does not contain a flat index of the same size")
    octets, offset = _read_vector(data, offset, 1, count * size)
    ids = np.arange(count, dtype=np.int64)
    if kind in _MAPS:
        raw, offset = _read_vector(data, offset, 8, count)
        ids = raw.view("<i8").astype(np.int64, copy=False)
    if offset != len(data):
        raise ValueError(f"{len(data) - offset} bytes follow the index")
    return FaissCodes(bits, octets.reshape(count, size), ids)


def _read_header(data: bytes, offset: int) -> tuple[bytes, int, int, int, int]:
    if len(data) < offset + _HEADER.size:
        raise ValueError("truncated")
    kind, bits, size, count, _trained, _metric = _HEADER.unpack_from(data, offset)
    if kind not in (_FLAT, *_MAPS):
        raise ValueError("not a binary index of faiss, or not a supported kind of index")
    if bits < 8 or bits != 8 * size or count < 0:
        raise ValueError(f"invalid header: {count} codes of {bits} bits in {size} bytes")
    return kind, bits, size, count, offset + _HEADER.size


def _read_vector(
    data: bytes, offset: int, item_bytes: int, expected: int
) -> tuple[NDArray[np.uint8], int]:
    """Return the bytes of a vector and the offset of its end."""
    if len(data) < offset + _LENGTH.size:
        raise ValueError("truncated")
    (count,) = _LENGTH.unpack_from(data, offset)
    offset += _LENGTH.size
    if count != expected or len(data) < offset + count * item_bytes:
        raise ValueError("truncated")
    return np.frombuffer(data, np.uint8, count * item_bytes, offset), offset + count * item_bytes
