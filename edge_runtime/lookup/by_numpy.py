"""The lookup in plain numpy: the reference, and what runs where nothing was compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import WORD_BITS, Code, hamming

BLOCK = 1 << 16
"""Codes compared at a time: half a megabyte a word, which stays in a cache."""


def nearest(
    codes: Code, query: Code, k: int, alive: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The `k` rows of `codes` that differ from `query` in the fewest bits.

    `codes` is uint64 [n, W], `query` uint64 [W], `alive` bool [n] says which rows may be found.
    Gives rows and distances (bits), both int64 [min(k, rows alive)], by distance and then by row:
    the order of a full stable sort.
    """
    distances = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        distances[start : start + BLOCK] = hamming(codes[start : start + BLOCK], query)
    among = None if alive is None else np.flatnonzero(alive)
    if among is not None:
        distances = distances[among]
    k = min(k, len(distances))
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    # argpartition breaks ties at random; a histogram gives the distance of the k-th instead.
    counts = np.bincount(distances, minlength=codes.shape[1] * WORD_BITS + 1)
    limit = int(np.searchsorted(np.cumsum(counts), k))
    rows = np.flatnonzero(distances <= limit)
    rows = rows[np.argsort(distances[rows], kind="stable")[:k]]
    return (rows if among is None else among[rows]), distances[rows]
