"""Exact nearest codes by Hamming distance; ties go to the code that was enrolled first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import WORD_BITS, Code, hamming
from edge_runtime.errors import InputError

BLOCK = 1 << 16
"""Codes compared at a time: half a megabyte a word, which stays in a cache."""


def nearest(codes: Code, query: Code, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The `k` rows of `codes` that differ from `query` in the fewest bits.

    `codes` is uint64 [n, W], `query` uint64 [W]. Gives rows and distances (bits), both int64
    [min(k, n)], by distance and then by row: the order that a full stable sort would give.
    """
    if k < 0:
        raise InputError(f"k is {k}", remedy="ask for 0 or more neighbours")
    k = min(k, len(codes))
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    distances = np.concatenate(
        [hamming(codes[start : start + BLOCK], query) for start in range(0, len(codes), BLOCK)]
    )
    # argpartition breaks ties at random; a histogram gives the distance of the k-th instead.
    counts = np.bincount(distances, minlength=codes.shape[1] * WORD_BITS + 1)
    limit = int(np.searchsorted(np.cumsum(counts), k))
    rows = np.flatnonzero(distances <= limit)
    rows = rows[np.argsort(distances[rows], kind="stable")[:k]]
    return rows, distances[rows]
