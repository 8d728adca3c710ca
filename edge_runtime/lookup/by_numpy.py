"""The lookup in plain numpy: the reference, and the fallback without the compiled module."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import WORD_BITS, Code, hamming

BLOCK = 1 << 16
"""Number of codes compared at a time: half a megabyte per word, which fits in a cache."""

SearchResult = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and their distances, sorted by distance, then by row."""


def distances_to(codes: Code, query: Code) -> NDArray[np.int64]:
    """Return the distances of all `codes` (uint64 [n, W]) to `query` (uint64 [W]), int64 [n]."""
    distances = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        distances[start : start + BLOCK] = hamming(codes[start : start + BLOCK], query)
    return distances


def nearest(
    codes: Code, query: Code, k: int, mask: NDArray[np.bool_] | None = None
) -> SearchResult:
    """Return the `k` rows of `codes` (uint64 [n, W]) nearest to `query` (uint64 [W]).

    `mask` (bool [n]) selects the rows to search. The result has min(k, selected rows) entries, in
    the order of a full stable sort.
    """
    distances = distances_to(codes, query)
    selected = None if mask is None else np.flatnonzero(mask)
    if selected is not None:
        distances = distances[selected]
    k = min(k, len(distances))
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    # argpartition breaks ties arbitrarily; a histogram gives the distance of the k-th row.
    counts = np.bincount(distances, minlength=codes.shape[1] * WORD_BITS + 1)
    limit = int(np.searchsorted(np.cumsum(counts), k))
    rows = np.flatnonzero(distances <= limit)
    rows = rows[np.argsort(distances[rows], kind="stable")[:k]]
    return (rows if selected is None else selected[rows]), distances[rows]


def within(
    codes: Code, query: Code, radius: int, mask: NDArray[np.bool_] | None = None
) -> SearchResult:
    """Return all rows within `radius` bits of `query`, as `nearest` does."""
    distances = distances_to(codes, query)
    near = distances <= radius
    rows = np.flatnonzero(near if mask is None else near & mask)
    rows = rows[np.argsort(distances[rows], kind="stable")]
    return rows, distances[rows]
