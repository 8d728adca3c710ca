"""Multi-index hashing: exact neighbors in a very large gallery without reading every code.

The method is that of Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index
hashing" (2012), applied to the distinct codes, since learned codes repeat. The bits are partitioned
as in HDIdx (Wan et al. 2015): correlated bits go to different parts, so that no bucket is crowded.

Learned codes are clustered, so a query visits few buckets. If codes are spread evenly over the
Hamming space, a scan is faster up to ten million codes. A search therefore has a work limit. When
it is used up, a scan answers, over the distinct codes if they are considerably fewer.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from edge_runtime.lookup.by_numpy import SearchResult
from edge_runtime.lookup.compiled import hamming as _hamming
from edge_runtime.lookup.row_filter import RowFilter
from edge_runtime.lookup.scan import PackedBytes, sort_result

MAX_PARTS = 16
MAX_PART_BITS = 28
SAMPLE = 20_000
"""Number of codes from which the correlation of bits is estimated."""
FEW_DISTINCT = 0.6
"""If the distinct codes are less than this share of all codes, a scan reads only them."""
UNLIMITED = 2**63


class MultiIndex:
    """An index over a fixed set of codes."""

    def __init__(
        self,
        rows: PackedBytes,
        bits: int,
        parts: int | None = None,
        order: NDArray[np.integer] | None = None,
    ) -> None:
        """Index `rows` [n, ceil(bits / 8)]; by default, `parts` depends on the distinct codes.

        `order` [bits] has the bits of one part after another; by default, correlated ones are
        separated.
        """
        self.count = len(rows)
        self.bits = bits
        self._index = _hamming.index_new(rows, self.count, bits)
        self.distinct, _ = _hamming.index_facts(self._index)
        best = round(bits / max(np.log2(max(self.distinct, 2)), 8))
        fewest = -(-bits // MAX_PART_BITS)
        self.parts = min(max(parts or best, fewest, 1), MAX_PARTS, bits)
        if order is None:
            sample = rows[:: max(1, self.count // SAMPLE)]
            order = np.array([*chain(*_separate_correlated_bits(sample, bits, self.parts))])
        _hamming.index_divide(self._index, self.parts, order.astype(np.uint16))
        _, self.size_bytes = _hamming.index_facts(self._index)

    def nearest(
        self, query: PackedBytes, k: int, row_filter: RowFilter, kernel: str, work: int = UNLIMITED
    ) -> tuple[SearchResult | None, int]:
        """Return the `k` (1 to n) rows nearest to `query` [bytes], and the work done.

        `work` limits the number of candidates. If it is used up, the result is None. A limit of 0
        scans the distinct codes with `kernel`.
        """
        rows, distances = np.empty(k, np.int64), np.empty(k, np.int64)
        found, left = _hamming.index_search(
            self._index,
            self.count,
            query,
            k,
            row_filter.alive,
            row_filter.group,
            row_filter.wanted,
            rows,
            distances,
            work,
            kernel,
        )
        return (None if found < 0 else (rows[:found], distances[:found])), work - left

    def within(
        self, query: PackedBytes, radius: int, row_filter: RowFilter, work: int
    ) -> SearchResult | None:
        """Return all rows within `radius` bits of `query`, or None if `work` is used up."""
        capacity = 1024
        while True:
            rows, distances = np.empty(capacity, np.uint32), np.empty(capacity, np.uint16)
            found = _hamming.index_collect(
                self._index,
                self.count,
                query,
                radius + 1,
                row_filter.alive,
                row_filter.group,
                row_filter.wanted,
                rows,
                distances,
                work,
            )
            if found < 0:
                return None
            if found <= capacity:
                return sort_result(rows[:found], distances[:found])
            capacity = found


def _separate_correlated_bits(rows: PackedBytes, bits: int, parts: int) -> list[list[int]]:
    """Assign each bit to the part with which it is least correlated; return the bits per part."""
    limits = [bits // parts + (part < bits % parts) for part in range(parts)]
    values = np.unpackbits(rows, axis=1, count=bits, bitorder="little").astype(np.float64)
    values -= values.mean(axis=0) if len(values) else 0.0
    norms = np.sqrt((values**2).sum(axis=0))
    norms[norms == 0] = 1.0
    correlation = np.abs((values / norms).T @ (values / norms))
    np.fill_diagonal(correlation, 0.0)
    assigned: list[list[int]] = [[] for _ in range(parts)]
    for bit in np.argsort(-correlation.sum(axis=0), kind="stable").tolist():
        free = [part for part in range(parts) if len(assigned[part]) < limits[part]]
        best = min(
            free, key=lambda part: (correlation[bit, assigned[part]].sum(), len(assigned[part]))
        )
        assigned[best].append(bit)
    return assigned
