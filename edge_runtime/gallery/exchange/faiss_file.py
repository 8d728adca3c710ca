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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edge_runtime.gallery.exchange.common import MOST_ROWS

_HEADER = struct.Struct("<4siiqBi")
_LENGTH = struct.Struct("<Q")
BLOCK = 1 << 14
"""Codes in memory at a time."""
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


class FaissReader:
    """An index of either kind, read a block of codes at a time. Its ids are skipped."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read the headers, and check that the file has the size they give; raises ValueError."""
        self._file = file
        kind, self.bits, size, self.count = _read_header(file)
        if kind in _MAPS:
            inner, inner_bits, _, inner_count = _read_header(file)
            if (inner, inner_bits, inner_count) != (_FLAT, self.bits, self.count):
                raise ValueError("the id map does not contain a flat index of the same size")
        self._size = size
        if _read_length(file) != self.count * size:
            raise ValueError("truncated")
        begin = file.tell()
        after = begin + self.count * size
        end = file.seek(0, 2)
        if kind in _MAPS:
            file.seek(min(after, end))
            if _read_length(file) != self.count:
                raise ValueError("truncated")
            after += _LENGTH.size + 8 * self.count
        if end < after:
            raise ValueError("truncated")
        if end > after:
            raise ValueError(f"{end - after} bytes follow the index")
        file.seek(begin)

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the bytes of the codes, [n, bits / 8] each; raises ValueError."""
        for start in range(0, self.count, BLOCK):
            count = min(BLOCK, self.count - start)
            data = self._file.read(count * self._size)
            if len(data) != count * self._size:
                raise ValueError("truncated")
            yield np.frombuffer(data, np.uint8).reshape(count, self._size)


def _read_header(file: IO[bytes]) -> tuple[bytes, int, int, int]:
    data = file.read(_HEADER.size)
    if len(data) < _HEADER.size:
        raise ValueError("truncated")
    kind, bits, size, count, _trained, _metric = _HEADER.unpack(data)
    if kind not in (_FLAT, *_MAPS):
        raise ValueError("not a binary index of faiss, or not a supported kind of index")
    if bits < 8 or bits != 8 * size or not 0 <= count <= MOST_ROWS:
        raise ValueError(f"invalid header: {count} codes of {bits} bits in {size} bytes")
    return kind, bits, size, count


def _read_length(file: IO[bytes]) -> int:
    data = file.read(_LENGTH.size)
    if len(data) < _LENGTH.size:
        raise ValueError("truncated")
    return int(_LENGTH.unpack(data)[0])
