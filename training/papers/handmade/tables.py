"""Several hash tables over the bits of local features (He et al. 2012, "bit reuse").

Each table is keyed by some of a code's bits, drawn at random, so that one code serves all tables.
A lookup visits the buckets within a Hamming radius of the query's key. It finds exactly the codes
that differ from the query in at most `radius` of the bits of some table, and therefore every code
within that radius in all bits.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, unpack

Rows = NDArray[np.int64]


class HashTables:
    """Finds stored codes near a query's."""

    def __init__(self, codes: Code, bits: int, tables: int, key_bits: int, seed: int) -> None:
        """Store codes uint64 [N, W] of `bits` bits in `tables` tables of 2 ** key_bits buckets."""
        rng = np.random.default_rng((seed, 3))
        self.bits = bits
        self.chosen = [np.sort(rng.permutation(bits)[:key_bits]) for _ in range(tables)]
        self._count, self._key_bits = len(codes), key_bits
        values = unpack(codes, bits)
        self._tables = []
        for chosen in self.chosen:
            keys = _keys(values, chosen)
            sizes = np.bincount(keys, minlength=1 << key_bits)
            starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            self._tables.append((starts, np.argsort(keys, kind="stable").astype(np.int32)))

    def lookup(self, queries: Code, radius: int) -> tuple[Rows, Rows]:
        """Return rows of `queries`, uint64 [Q, W], and of the codes found near them, without twins.

        Sorted by the query's row, then by that of the code.
        """
        values, masks = unpack(queries, self.bits), _masks(self._key_bits, radius)
        pairs = [np.zeros(0, np.int64)]
        for chosen, (starts, members) in zip(self.chosen, self._tables, strict=True):
            buckets = _keys(values, chosen)[:, None] ^ masks[None]
            first = starts[buckets].ravel()
            sizes = starts[buckets + 1].ravel() - first
            # Positions first[i], first[i] + 1, ... first[i] + sizes[i] - 1, for every bucket i.
            ends = np.cumsum(sizes)
            within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
            found = members[np.repeat(first, sizes) + within]
            asked = np.repeat(np.arange(len(values)), len(masks))
            pairs.append(np.repeat(asked, sizes) * self._count + found)
        together = np.unique(np.concatenate(pairs))
        return together // max(self._count, 1), together % max(self._count, 1)


def _keys(values: NDArray[np.bool_], chosen: NDArray[np.int64]) -> Rows:
    """Return the numbers [N] that the bits `chosen` of `values`, bool [N, bits], make."""
    powers = np.int64(1) << np.arange(len(chosen), dtype=np.int64)
    keys: Rows = values[:, chosen].astype(np.int64) @ powers
    return keys


def _masks(key_bits: int, radius: int) -> Rows:
    """Return all numbers of `key_bits` bits with at most `radius` ones."""
    return np.array([
        sum(1 << place for place in places)
        for ones in range(radius + 1)
        for places in combinations(range(key_bits), ones)
    ], np.int64)  # fmt: skip
