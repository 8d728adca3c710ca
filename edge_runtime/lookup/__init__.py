"""Exact nearest codes by Hamming distance; ties go to the code that was enrolled first.

The scan is compiled (edge_runtime/native: AVX-512, AVX2, NEON or plain C, the best that this CPU
has). Where the package was installed without a compiler, numpy gives identical answers. A gallery
of very many codes gets a multi-index beside them, once that has proved faster (planner.py).
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, check_codes, words_of
from edge_runtime.errors import CodeError, InputError
from edge_runtime.lookup import by_numpy
from edge_runtime.lookup.by_numpy import Answer
from edge_runtime.lookup.compiled import hamming as _hamming
from edge_runtime.lookup.compiled import kernels
from edge_runtime.lookup.growable_array import GrowableArray
from edge_runtime.lookup.planner import INDEX_FROM, Planner
from edge_runtime.lookup.row_filter import ALL, RowFilter, rows_where
from edge_runtime.lookup.scan import scan, scan_batch

__all__ = ["ALL", "Answer", "Lookup", "RowFilter", "kernels", "rows_where"]

KERNEL_VARIABLE = "EDGE_RUNTIME_KERNEL"
"""Names the kernel to use in place of the best one."""
MAX_COMPILED_BITS = 256


class Lookup:
    """Codes ready to be searched. Immutable; may be shared between threads."""

    def __init__(
        self, codes: Code, bits: int, *, kernel: str | None = None, index: bool = True
    ) -> None:
        """Over uint64 [n, W] `codes` of `bits` bits; `kernel` None: $EDGE_RUNTIME_KERNEL, or best.

        `index` False: always scan, never build an index.

        Raises `CodeError` for codes of another width and `InputError` for a kernel that this
        machine does not have.
        """
        named = kernel or os.environ.get(KERNEL_VARIABLE)
        known = kernels()
        if named and named not in known:
            raise InputError(
                "no such lookup kernel here", where=named, remedy=f"choose of {', '.join(known)}"
            )
        self.bits = bits
        self.kernel = named or ("numpy" if bits > MAX_COMPILED_BITS else known[0])
        self._growing = GrowableArray(tight(check_codes(codes, bits), bits))
        self._begin(Planner(bits, self.kernel, index))

    def _begin(self, planner: Planner) -> None:
        self.rows = self._growing.rows
        """uint8 [n, ceil(bits / 8)]: what is scanned."""
        self.planner = planner

    def extended(self, codes: Code) -> Lookup:
        """This one with `codes` (uint64 [m, W]) behind the others.

        They share memory, so a lookup may be extended once.
        """
        wider = object.__new__(Lookup)
        wider.bits, wider.kernel, wider._growing = self.bits, self.kernel, self._growing
        wider._growing.append(tight(check_codes(codes, self.bits), self.bits))
        wider._begin(self.planner)
        return wider

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def codes(self) -> Code:
        """uint64 [n, W]; a copy, unless rows are whole words."""
        octets = 8 * words_of(self.bits)
        if self.rows.shape[1] == octets:
            return self.rows.view(np.uint64)
        padded = np.zeros((len(self), octets), np.uint8)
        padded[:, : self.rows.shape[1]] = self.rows
        return padded.view(np.uint64)

    def nearest(self, query: Code, k: int, row_filter: RowFilter = ALL) -> Answer:
        """The `k` rows nearest to `query` (uint64 [W]), of those that are `among`.

        Gives rows and distances (bits), both int64 [min(k, such rows)], by distance, then by row.
        """
        self._check(query, (words_of(self.bits),), k)
        if self.kernel == "numpy":
            return by_numpy.nearest(self.codes, query, k, self._mask(row_filter))
        k = min(k, len(self))
        if k and len(self) >= INDEX_FROM:
            return self.planner.nearest(self.rows, self._tight(query), k, row_filter)
        return scan(self.rows, self.bits, self._tight(query), k, row_filter, self.kernel)

    def within(self, query: Code, radius: int, row_filter: RowFilter = ALL) -> Answer:
        """All rows within `radius` bits of `query` (uint64 [W]), as `nearest` gives them."""
        self._check(query, (words_of(self.bits),), 0)
        if not 0 <= radius <= self.bits:
            raise InputError(f"a radius of {radius} bits", remedy=f"give 0 to {self.bits}")
        if self.kernel == "numpy":
            return by_numpy.within(self.codes, query, radius, self._mask(row_filter))
        return self.planner.within(self.rows, self._tight(query), radius, row_filter)

    def nearest_batch(self, queries: Code, k: int, row_filter: RowFilter = ALL) -> Answer:
        """`nearest` for each row of `queries`, uint64 [m, W]; both answers are int64 [m, ...]."""
        self._check(queries, (len(queries), words_of(self.bits)), k)
        if self.kernel == "numpy":
            mask, codes = self._mask(row_filter), self.codes
            k = min(k, len(self) if mask is None else int(np.count_nonzero(mask)))
            answers = [by_numpy.nearest(codes, query, k, mask) for query in queries]
            rows = np.array([answer[0] for answer in answers], np.int64)
            distances = np.array([answer[1] for answer in answers], np.int64)
            return rows.reshape(len(queries), k), distances.reshape(len(queries), k)
        return scan_batch(
            self.rows, self.bits, self._tight(queries), min(k, len(self)), row_filter, self.kernel
        )

    def ranking(self, queries: Code) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """All rows by their distance to each of `queries` (uint64 [m, W]), ties by row.

        Gives [m, n], uint16 up to 65,536 rows and else uint32: what an evaluation reads labels by.
        """
        self._check(queries, (len(queries), words_of(self.bits)), 0)
        narrow = len(self) <= 1 << 16
        order = np.empty((len(queries), len(self)), np.uint16 if narrow else np.uint32)
        if self.kernel == "numpy":
            for row, query in enumerate(queries):
                order[row] = np.argsort(by_numpy.measure(self.codes, query), kind="stable")
        elif order.size:
            octets = self._tight(queries)
            _hamming.rank(self.rows, len(self), self.bits, octets, len(octets), order, self.kernel)
        return order

    def _tight(self, codes: Code) -> NDArray[np.uint8]:
        return tight(codes, self.bits)

    def _mask(self, row_filter: RowFilter) -> NDArray[np.bool_] | None:
        return None if row_filter is ALL else row_filter.mask(len(self))

    def _check(self, queries: Code, shape: tuple[int, ...], k: int) -> None:
        if queries.dtype != np.uint64 or queries.shape != shape:
            raise CodeError(
                f"the query is {queries.dtype} {list(queries.shape)}, "
                f"the codes have {self.bits} bits"
            )
        if k < 0:
            raise InputError(f"k is {k}", remedy="ask for 0 or more neighbours")


def tight(codes: Code, bits: int) -> NDArray[np.uint8]:
    """uint64 [..., W] as uint8 [..., ceil(bits / 8)]: a 16-bit code is scanned as two bytes."""
    octets = np.ascontiguousarray(codes, "<u8").view(np.uint8)
    size = -(-bits // 8)
    return octets if size == octets.shape[-1] else np.ascontiguousarray(octets[..., :size])
