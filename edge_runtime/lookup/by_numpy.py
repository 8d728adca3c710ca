"""The lookup in plain numpy: the reference, and what runs where nothing was compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import WORD_BITS, Code, hamming

BLOCK = 1 << 16
"""Codes compared at a time: half a megabyte a word, which stays in a cache."""

Answer = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and their distances, by distance and then by row."""


def measure(codes: Code, query: Code) -> NDArray[np.int64]:
    """Distances of all `codes` (uint64 [n, W]) to `query` (uint64 [W]), int64 [n]."""
    distances = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        distances[start : start + BLOCK] = hamming(codes[start : start + BLOCK], query)
    return distances


def nearest(codes: Code, query: Code, k: int, mask: NDArray[np.bool_] | None = None) -> Answer:
    """The `k` rows of `codes` that differ from `query` in the fewest bits.

    `codes` is uint64 [n, W], `query` uint64 [W], `mask` bool [n] says which rows may be found.
    Gives min(k, rows that may be found), in the order of a full stable sort.
    """
    distances = measure(codes, query)
    chosen = None if mask is None else np.flatnonzero(mask)
    if chosen is not None:
        distances = distances[chosen]
    k = min(k, len(distances))
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    # argpartition breaks ties at random; a histogram gives the distance of the k-th instead.
    counts = np.bincount(distances, minlength=codes.shape[1] * WORD_BITS + 1)
    limit = int(np.searchsorted(np.cumsum(counts), k))
    rows = np.flatnonzero(distances <= limit)
    rows = rows[np.argsort(distances[rows], kind="stable")[:k]]
    return (rows if chosen is None else chosen[rows]), distances[rows]


def within(codes: Code, query: Code, radius: int, mask: NDArray[np.bool_] | None = None) -> Answer:
    """All rows that differ from `query` in at most `radius` bits, as `nearest` gives them."""
    distances = measure(codes, query)
    near = distances <= radius
    rows = np.flatnonzero(near if mask is None else near & mask)
    rows = rows[np.argsort(distances[rows], kind="stable")]
    return rows, distances[rows]
