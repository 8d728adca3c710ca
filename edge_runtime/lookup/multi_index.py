"""Multi-index hashing: exact neighbours in a very large gallery without looking at every code.

Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing" (2012), with
the adaptive bit partition of HDIdx (Wan et al. 2015): bits that are correlated go to different
parts, so that no part's buckets are crowded.

Learned codes are clustered, and then a query looks at few buckets. Where codes are spread
evenly over all of Hamming space, nothing beats a scan; so a search stops when it has cost a
share of what a scan costs, and the scan answers instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime import _hamming
from edge_runtime.code import Code, unpack

MOST_PARTS = 16
MOST_PART_BITS = 28
SAMPLE = 20_000
"""Codes from which the correlations of bits are taken."""
WORTH = 0.2
"""The share of a scan's cost after which a search gives up."""
SCAN_CODES_PER_CANDIDATE = 15
"""How many codes the scan compares in the time of one candidate here (measured: `make bench`)."""


class MultiIndex:
    """An index over a fixed set of codes; memory is 4 * parts * (parts + 1) bytes a code."""

    def __init__(self, codes: Code, bits: int, parts: int | None = None) -> None:
        """Over uint64 [n, W] `codes` of `bits` bits; `parts` None: as many as suit n."""
        self.count = len(codes)
        self.bits = bits
        best = round(bits / max(np.log2(max(self.count, 2)), 8))
        fewest = -(-bits // MOST_PART_BITS)
        self.parts = min(max(parts or best, fewest, 1), MOST_PARTS, bits)
        self._places = _spread_correlated(codes, bits, self.parts)
        self.widths = tuple(len(places) for places in self._places)
        cut = self._cut(codes)
        tables = []
        for part, width in enumerate(self.widths):
            starts = np.empty((1 << width) + 1, np.uint32)
            entries = np.empty((self.count, self.parts + 1), np.uint32)
            _hamming.index_build(cut, self.count, self.parts, part, width, starts, entries)
            tables += [starts, entries]
        self._tables = tuple(tables)

    @property
    def size_bytes(self) -> int:
        """Memory of the tables."""
        return sum(table.nbytes for table in self._tables)

    def nearest(
        self,
        query: Code,
        k: int,
        alive: NDArray[np.uint8] | None = None,
        *,
        work: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The `k` nearest rows to `query` (uint64 [W]) and their distances, as `Lookup.nearest`.

        `alive` has a bit for each row, least significant first; `k` is at most the rows alive.
        `work` bounds the candidates; None: what a scan would be cheaper than. Gives None when the
        bound was reached: scan instead.
        """
        if work is None:
            work = int(WORTH * self.count / SCAN_CODES_PER_CANDIDATE)
        rows, distances = np.empty(k, np.int64), np.empty(k, np.int64)
        if k == 0:
            return rows, distances
        cut = self._cut(query[np.newaxis])
        found = _hamming.index_search(
            self._tables, self.widths, self.count, cut, k, alive, work, rows, distances
        )
        return None if found is None else (rows[:found], distances[:found])

    def _cut(self, codes: Code) -> NDArray[np.uint32]:
        """Codes uint64 [n, W] in parts: uint32 [n, parts]."""
        cut = np.zeros((len(codes), self.parts), np.uint32)
        for part, places in enumerate(self._places):
            for at, place in enumerate(places):
                bit = (codes[:, place // 64] >> np.uint64(place % 64)) & np.uint64(1)
                cut[:, part] |= bit.astype(np.uint32) << np.uint32(at)
        return cut


def _spread_correlated(codes: Code, bits: int, parts: int) -> list[list[int]]:
    """Which bits go to which part: each, in turn, to the part that it is least correlated with."""
    limits = [bits // parts + (part < bits % parts) for part in range(parts)]
    step = max(1, len(codes) // SAMPLE)
    values = unpack(codes[::step], bits).astype(np.float64)
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
