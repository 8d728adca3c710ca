"""The compiled scan, one or many queries at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.lookup.by_numpy import Answer
from edge_runtime.lookup.compiled import hamming as _hamming
from edge_runtime.lookup.row_filter import RowFilter

PackedBytes = NDArray[np.uint8]
"""Packed codes without padding, uint8 [..., ceil(bits / 8)]."""


def scan(
    rows: PackedBytes, bits: int, query: PackedBytes, k: int, row_filter: RowFilter, kernel: str
) -> Answer:
    """The `k` of `rows` [n, bytes] nearest to `query` [bytes], k <= n, as `Lookup.nearest`."""
    found, distances = scan_batch(rows, bits, query[np.newaxis], k, row_filter, kernel)
    return found[0], distances[0]


def scan_batch(
    rows: PackedBytes, bits: int, queries: PackedBytes, k: int, row_filter: RowFilter, kernel: str
) -> Answer:
    """`scan` for each of `queries` [m, bytes]; both answers are int64 [m, ...]."""
    shape = (len(queries), k)
    found, distances = np.empty(shape, np.int64), np.empty(shape, np.int64)
    if not found.size:
        return found, distances
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
        found,
        distances,
        filled,
        kernel,
    )
    fewest = int(filled[0])  # the same for all: as many rows as pass
    return (found, distances) if fewest == k else (found[:, :fewest], distances[:, :fewest])


def collect(
    rows: PackedBytes,
    bits: int,
    query: PackedBytes,
    radius: int,
    row_filter: RowFilter,
    kernel: str,
) -> Answer:
    """All of `rows` within `radius` bits of `query`, by distance and then by row."""
    room = 1024
    while True:
        found, distances = np.empty(room, np.uint32), np.empty(room, np.uint16)
        count = _hamming.collect(
            rows,
            len(rows),
            bits,
            query,
            radius + 1,
            row_filter.alive,
            row_filter.group,
            row_filter.wanted,
            found,
            distances,
            kernel,
        )
        if count <= room:
            return in_order(found[:count], distances[:count])
        room = count


def in_order(rows: NDArray[np.uint32], distances: NDArray[np.uint16]) -> Answer:
    """By distance and then by row, as int64."""
    order = np.lexsort((rows, distances))
    return rows[order].astype(np.int64), distances[order].astype(np.int64)


def merged(first: Answer, second: Answer, k: int | None = None) -> Answer:
    """The `k` nearest of two answers, of which the second has the higher rows; None: all."""
    rows = np.concatenate([first[0], second[0]])
    distances = np.concatenate([first[1], second[1]])
    order = np.argsort(distances, kind="stable")[:k]
    return rows[order], distances[order]
