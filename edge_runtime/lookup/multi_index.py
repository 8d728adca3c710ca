"""Multi-index hashing: exact neighbours in a very large gallery without looking at every code.

Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing" (2012), over
the distinct codes (learned codes repeat), with the adaptive bit partition of HDIdx (Wan et al.
2015): bits that are correlated go to different parts, so that no part's buckets are crowded.

Learned codes are clustered, and then a query looks at few buckets. Where codes are spread evenly
over all of Hamming space, nothing beats a scan before ten million; so a search has a budget, and
a scan (of the distinct codes, where they are clearly fewer) answers when it is used up.
"""

from __future__ import annotations

from itertools import chain

import numpy as np

from edge_runtime.lookup.by_numpy import Answer
from edge_runtime.lookup.compiled import hamming as _hamming
from edge_runtime.lookup.row_filter import RowFilter
from edge_runtime.lookup.scan import PackedBytes, in_order

MOST_PARTS = 16
MOST_PART_BITS = 28
SAMPLE = 20_000
"""Codes from which the correlations of bits are taken."""
CLEARLY_FEWER = 0.6
"""Distinct codes, as a share of all: below, they are scanned in place of all."""
NO_BOUND = 2**63


class MultiIndex:
    """An index over a fixed set of codes."""

    def __init__(self, rows: PackedBytes, bits: int, parts: int | None = None) -> None:
        """Over `rows` [n, ceil(bits / 8)]; `parts` None: as many as suit the distinct codes."""
        self.count = len(rows)
        self.bits = bits
        self._index = _hamming.index_new(rows, self.count, bits)
        self.distinct, _ = _hamming.index_facts(self._index)
        best = round(bits / max(np.log2(max(self.distinct, 2)), 8))
        fewest = -(-bits // MOST_PART_BITS)
        self.parts = min(max(parts or best, fewest, 1), MOST_PARTS, bits)
        sample = rows[:: max(1, self.count // SAMPLE)]
        order = np.array([*chain(*_spread_correlated(sample, bits, self.parts))], np.uint16)
        _hamming.index_divide(self._index, self.parts, order)
        _, self.size_bytes = _hamming.index_facts(self._index)

    def nearest(
        self, query: PackedBytes, k: int, row_filter: RowFilter, kernel: str, work: int = NO_BOUND
    ) -> tuple[Answer | None, int]:
        """The `k` (1 to n) nearest rows to `query` [bytes], as `Lookup.nearest`, and the work done.

        `work` bounds it, in candidates looked at; None in place of the answer: it was used up. A
        bound of 0 scans the distinct codes with `kernel`.
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
    ) -> Answer | None:
        """All rows within `radius` bits of `query`; None: `work` was used up."""
        room = 1024
        while True:
            rows, distances = np.empty(room, np.uint32), np.empty(room, np.uint16)
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
            if found <= room:
                return in_order(rows[:found], distances[:found])
            room = found


def _spread_correlated(rows: PackedBytes, bits: int, parts: int) -> list[list[int]]:
    """Which bits go to which part: each, in turn, to the part that it is least correlated with."""
    limits = [bits // parts + (part < bits % parts) for part in range(parts)]
    values = np.unpackbits(rows, axis=1, count=bits, bitorder="little").astype(np.float64)
    values -= values.mean(axis=0) if len(values) else 0.0
    norms = np.sqrt((values**2).sum(axis=0))
    norms[norms == 0] = 1.0
    correlation = np.abs((values / norms).T @ (values / norms))
    np.fill_diagonal(correlation, 0.0)
    chosen: list[list[int]] = [[] for _ in range(parts)]
    for bit in np.argsort(-correlation.sum(axis=0), kind="stable").tolist():
        free = [part for part in range(parts) if len(chosen[part]) < limits[part]]
        nearest = min(
            free, key=lambda part: (correlation[bit, chosen[part]].sum(), len(chosen[part]))
        )
        chosen[nearest].append(bit)
    return chosen
