"""Exact nearest-neighbor search by Hamming distance. Ties go to the code enrolled first.

The scan is compiled (edge_runtime/native): AVX-512, AVX2, NEON or plain C, whichever is best on
this CPU. If the package was installed without a compiler, numpy returns identical results. A very
large gallery also gets a multi-index, once it has proved faster (planner.py).
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, check_codes, words_of
from edge_runtime.errors import CodeError, InputError
from edge_runtime.lookup import by_numpy
from edge_runtime.lookup.by_numpy import SearchResult
from edge_runtime.lookup.compiled import hamming as _hamming
from edge_runtime.lookup.compiled import kernels
from edge_runtime.lookup.growable_array import GrowableArray
from edge_runtime.lookup.planner import INDEX_FROM, Planner
from edge_runtime.lookup.row_filter import ALL, RowFilter, rows_where
from edge_runtime.lookup.scan import scan, scan_batch

__all__ = ["ALL", "Lookup", "RowFilter", "SearchResult", "kernels", "rows_where"]

KERNEL_VARIABLE = "EDGE_RUNTIME_KERNEL"
"""Environment variable that selects a kernel instead of the best one."""
MAX_COMPILED_BITS = 256


class Lookup:
    """Codes ready to be searched. Immutable and thread-safe."""

    def __init__(
        self, codes: Code, bits: int, *, kernel: str | None = None, index: bool = True
    ) -> None:
        """Prepare `codes` (uint64 [n, W]) of `bits` bits.

        `kernel` defaults to $EDGE_RUNTIME_KERNEL or the best kernel. With `index` False, searches
        always scan and never build an index.

        Raises `CodeError` for codes of another width and `InputError` for a kernel that this
        machine does not support.
        """
        named = kernel or os.environ.get(KERNEL_VARIABLE)
        available = kernels()
        if named and named not in available:
            raise InputError(
                "this machine does not support this lookup kernel",
                where=named,
                remedy=f"choose from {', '.join(available)}",
            )
        self.bits = bits
        self.kernel = named or ("numpy" if bits > MAX_COMPILED_BITS else available[0])
        self._growing = GrowableArray(to_bytes(check_codes(codes, bits), bits))
        self._begin(Planner(bits, self.kernel, index))

    def _begin(self, planner: Planner) -> None:
        self.rows = self._growing.rows
        """The codes as bytes for the scan, uint8 [n, ceil(bits / 8)]."""
        self.planner = planner

    def extended(self, codes: Code) -> Lookup:
        """Return a lookup with `codes` (uint64 [m, W]) appended.

        Both share memory, so a lookup can be extended only once.
        """
        wider = object.__new__(Lookup)
        wider.bits, wider.kernel, wider._growing = self.bits, self.kernel, self._growing
        wider._growing.append(to_bytes(check_codes(codes, self.bits), self.bits))
        wider._begin(self.planner)
        return wider

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def codes(self) -> Code:
        """The codes, uint64 [n, W]; a copy unless rows are whole words."""
        width = 8 * words_of(self.bits)
        if self.rows.shape[1] == width:
            return self.rows.view(np.uint64)
        padded = np.zeros((len(self), width), np.uint8)
        padded[:, : self.rows.shape[1]] = self.rows
        return padded.view(np.uint64)

    def nearest(self, query: Code, k: int, row_filter: RowFilter = ALL) -> SearchResult:
        """Return the `k` rows nearest to `query` (uint64 [W]) that pass `row_filter`.

        The result is rows and distances (bits), both int64 [min(k, passing rows)], sorted by
        distance, then by row.
        """
        self._check(query, (words_of(self.bits),), k)
        if self.kernel == "numpy":
            return by_numpy.nearest(self.codes, query, k, self._mask(row_filter))
        k = min(k, len(self))
        if k and len(self) >= INDEX_FROM:
            return self.planner.nearest(self.rows, self._to_bytes(query), k, row_filter)
        return scan(self.rows, self.bits, self._to_bytes(query), k, row_filter, self.kernel)

    def within(self, query: Code, radius: int, row_filter: RowFilter = ALL) -> SearchResult:
        """Return all rows within `radius` bits of `query` (uint64 [W]), as `nearest` does."""
        self._check(query, (words_of(self.bits),), 0)
        if not 0 <= radius <= self.bits:
            raise InputError(f"radius must be between 0 and {self.bits}, got {radius}")
        if self.kernel == "numpy":
            return by_numpy.within(self.codes, query, radius, self._mask(row_filter))
        return self.planner.within(self.rows, self._to_bytes(query), radius, row_filter)

    def nearest_batch(self, queries: Code, k: int, row_filter: RowFilter = ALL) -> SearchResult:
        """Return `nearest` for each of `queries` (uint64 [m, W]), as arrays int64 [m, ...]."""
        self._check(queries, (len(queries), words_of(self.bits)), k)
        if self.kernel == "numpy":
            mask, codes = self._mask(row_filter), self.codes
            k = min(k, len(self) if mask is None else int(np.count_nonzero(mask)))
            results = [by_numpy.nearest(codes, query, k, mask) for query in queries]
            rows = np.array([result[0] for result in results], np.int64)
            distances = np.array([result[1] for result in results], np.int64)
            return rows.reshape(len(queries), k), distances.reshape(len(queries), k)
        return scan_batch(
            self.rows,
            self.bits,
            self._to_bytes(queries),
            min(k, len(self)),
            row_filter,
            self.kernel,
        )

    def ranking(self, queries: Code) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """Return all rows sorted by distance to each of `queries` (uint64 [m, W]), ties by row.

        The result is [m, n], uint16 for up to 65,536 rows, else uint32. Evaluations use it to look
        up labels.
        """
        self._check(queries, (len(queries), words_of(self.bits)), 0)
        narrow = len(self) <= 1 << 16
        order = np.empty((len(queries), len(self)), np.uint16 if narrow else np.uint32)
        if self.kernel == "numpy":
            for row, query in enumerate(queries):
                order[row] = np.argsort(by_numpy.distances_to(self.codes, query), kind="stable")
        elif order.size:
            packed = self._to_bytes(queries)
            _hamming.rank(self.rows, len(self), self.bits, packed, len(packed), order, self.kernel)
        return order

    def _to_bytes(self, codes: Code) -> NDArray[np.uint8]:
        return to_bytes(codes, self.bits)

    def _mask(self, row_filter: RowFilter) -> NDArray[np.bool_] | None:
        return None if row_filter is ALL else row_filter.mask(len(self))

    def _check(self, queries: Code, shape: tuple[int, ...], k: int) -> None:
        if queries.dtype != np.uint64 or queries.shape != shape:
            raise CodeError(
                f"query must be uint64 {list(shape)} for codes of {self.bits} bits, "
                f"got {queries.dtype} {list(queries.shape)}"
            )
        if k < 0:
            raise InputError(f"k must be 0 or more, got {k}")


def to_bytes(codes: Code, bits: int) -> NDArray[np.uint8]:
    """Convert uint64 [..., W] to uint8 [..., ceil(bits / 8)]; a 16-bit code becomes two bytes."""
    padded = np.ascontiguousarray(codes, "<u8").view(np.uint8)
    size = -(-bits // 8)
    return padded if size == padded.shape[-1] else np.ascontiguousarray(padded[..., :size])
