"""Exact nearest codes by Hamming distance; ties go to the code that was enrolled first.

The scan is compiled (edge_runtime/native: AVX-512, AVX2, NEON or plain C, the best that this CPU
has). Where the package was installed without a compiler, numpy gives identical answers.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, check_codes
from edge_runtime.errors import CodeError, InputError
from edge_runtime.lookup import by_numpy

try:
    from edge_runtime import _hamming
except ImportError:  # installed without a compiler
    _hamming = None  # type: ignore[assignment]

KERNEL_VARIABLE = "EDGE_RUNTIME_KERNEL"
"""Names the kernel to use in place of the best one."""
MAX_COMPILED_BITS = 256


def kernels() -> list[str]:
    """What can run here, fastest first; "numpy" always."""
    compiled = _hamming.kernels() if _hamming and sys.byteorder == "little" else []
    return [*compiled, "numpy"]


class Lookup:
    """Codes ready to be searched. Immutable; may be shared between threads."""

    def __init__(
        self, codes: Code, bits: int, *, kernel: str | None = None, index: bool = False
    ) -> None:
        """Over uint64 [n, W] `codes` of `bits` bits; `kernel` None: $EDGE_RUNTIME_KERNEL, or best.

        `index` builds a multi-index beside the codes, for millions of them that stay as they are:
        it answers where it is faster than the scan, with the same answers. Needs a compiled
        kernel; without one there is no index.

        Raises `CodeError` for codes of another width and `InputError` for a kernel that this
        machine does not have.
        """
        self.bits = bits
        self.codes = check_codes(codes, bits)
        named = kernel or os.environ.get(KERNEL_VARIABLE)
        known = kernels()
        if named and named not in known:
            raise InputError(
                "no such lookup kernel here", where=named, remedy=f"choose of {', '.join(known)}"
            )
        self.kernel = named or ("numpy" if bits > MAX_COMPILED_BITS else known[0])
        if self.kernel != "numpy":
            self._bytes = (bits + 7) // 8
            self._rows = self._tight(self.codes)
        self._index = None
        if index and self.kernel != "numpy" and len(self.codes):
            from edge_runtime.lookup.multi_index import MultiIndex

            self._index = MultiIndex(self.codes, bits)

    def __len__(self) -> int:
        return len(self.codes)

    def nearest(
        self, query: Code, k: int, alive: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The `k` rows nearest to `query` (uint64 [W]), of those that are `alive` (bool [n]).

        Gives rows and distances (bits), both int64 [min(k, rows alive)], by distance, then by row.
        """
        if query.dtype != np.uint64 or query.shape != self.codes.shape[1:]:
            raise CodeError(
                f"the query is {query.dtype} {list(query.shape)}, the codes have {self.bits} bits"
            )
        if self._index is not None and alive is None and 0 < k <= len(self):
            found = self._index.nearest(query, k)
            if found is not None:
                return found
        rows, distances = self.nearest_batch(query[np.newaxis], k, alive)
        return rows[0], distances[0]

    def nearest_batch(
        self, queries: Code, k: int, alive: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`nearest` for each row of `queries`, uint64 [m, W]; both answers are int64 [m, ...]."""
        if queries.dtype != np.uint64 or queries.shape[1:] != self.codes.shape[1:]:
            raise CodeError(
                f"the queries are {queries.dtype} {list(queries.shape)}, "
                f"the codes have {self.bits} bits"
            )
        if k < 0:
            raise InputError(f"k is {k}", remedy="ask for 0 or more neighbours")
        if alive is not None and (alive.dtype != np.bool_ or alive.shape != (len(self),)):
            raise InputError(f"alive is {alive.dtype} {list(alive.shape)}, expected bool [n]")
        k = min(k, len(self) if alive is None else int(np.count_nonzero(alive)))
        if self.kernel == "numpy":
            answers = [by_numpy.nearest(self.codes, query, k, alive) for query in queries]
            shape = (len(queries), k)
            rows = np.array([answer[0] for answer in answers], np.int64).reshape(shape)
            return rows, np.array([answer[1] for answer in answers], np.int64).reshape(shape)
        rows = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), np.int64)
        if rows.size:
            _hamming.search(
                self._rows,
                len(self),
                self.bits,
                self._tight(queries),
                len(queries),
                k,
                None if alive is None else np.packbits(alive, bitorder="little"),
                rows,
                distances,
                np.empty(len(queries), np.uint32),
                self.kernel,
            )
        return rows, distances

    def _tight(self, codes: Code) -> NDArray[np.uint8] | Code:
        """Rows of ceil(bits / 8) bytes: a 16-bit code is scanned as two bytes, not as eight."""
        if self._bytes == codes.shape[1] * 8:
            return np.ascontiguousarray(codes)
        octets = np.ascontiguousarray(codes).view(np.uint8)
        return np.ascontiguousarray(octets[:, : self._bytes])
