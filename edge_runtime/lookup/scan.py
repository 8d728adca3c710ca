"""The compiled scan for one or many queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.lookup.by_numpy import SearchResult
from edge_runtime.lookup.compiled import hamming as _hamming
from edge_runtime.lookup.row_filter import RowFilter

PackedBytes = NDArray[np.uint8]
"""Packed codes without padding, uint8 [..., ceil(bits / 8)]."""


def scan(
    rows: PackedBytes, bits: int, query: PackedBytes, k: int, row_filter: RowFilter, kernel: str
) -> SearchResult:
    """Return the `k` <= n of `rows` [n, bytes] nearest to `query` [bytes], as `Lookup.nearest`."""
    found_rows, distances = scan_batch(rows, bits, query[np.newaxis], k, row_filter, kernel)
    return found_rows[0], distances[0]


def scan_batch(
    rows: PackedBytes, bits: int, queries: PackedBytes, k: int, row_filter: RowFilter, kernel: str
) -> SearchResult:
    """Return `scan` for each of `queries` [m, bytes]; both arrays are int64 [m, ...]."""
    shape = (len(queries), k)
    found_rows, distances = np.empty(shape, np.int64), np.empty(shape, np.int64)
    if not found_rows.size:
        return found_rows, distances
    filled = np.empty(len(queries), np.uint32)
    _hamming.search(
        rows,
        len(rows),
        bits,
        queries,
        len(queries),
        k,
        row_filter.alive,
        row_filter.group,
        row_filter.wanted,
        found_rows,
        distances,
        filled,
        kernel,
    )
    fewest = int(filled[0])  # the same for all queries: the number of passing rows
    return (
        (found_rows, distances) if fewest == k else (found_rows[:, :fewest], distances[:, :fewest])
    )


def collect(
    rows: PackedBytes,
    bits: int,
    query: PackedBytes,
    radius: int,
    row_filter: RowFilter,
    kernel: str,
) -> SearchResult:
    """Return all of `rows` within `radius` bits of `query`, sorted by distance, then by row."""
    capacity = 1024
    while True:
        found_rows, distances = np.empty(capacity, np.uint32), np.empty(capacity, np.uint16)
        count = _hamming.collect(
            rows,
            len(rows),
            bits,
            query,
            radius + 1,
            row_filter.alive,
            row_filter.group,
            row_filter.wanted,
            found_rows,
            distances,
            kernel,
        )
        if count <= capacity:
            return sort_result(found_rows[:count], distances[:count])
        capacity = count


def sort_result(rows: NDArray[np.uint32], distances: NDArray[np.uint16]) -> SearchResult:
    """Sort by distance, then by row; convert to int64."""
    order = np.lexsort((rows, distances))
    return rows[order].astype(np.int64), distances[order].astype(np.int64)


def merge_results(first: SearchResult, second: SearchResult, k: int | None = None) -> SearchResult:
    """Return the `k` nearest of two results, or all; `second` has only higher rows."""
    rows = np.concatenate([first[0], second[0]])
    distances = np.concatenate([first[1], second[1]])
    order = np.argsort(distances, kind="stable")[:k]
    return rows[order], distances[order]
