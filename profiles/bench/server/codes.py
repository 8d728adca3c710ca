"""Codes for the benchmarks of the server."""

from __future__ import annotations

import numpy as np

from edge_runtime.code import Code

CLUSTERS, FLIPS = 10_000, 3
"""Clusters of codes, and bits that are changed in each code."""


def clustered(count: int) -> Code:
    """Return codes of 64 bits, uint64 [count, 1], in clusters with a few bits changed in each.

    They are the same for the same count.
    """
    rng = np.random.default_rng(3)
    centers = rng.integers(0, 2**64, CLUSTERS, np.uint64)
    codes = centers[rng.integers(0, CLUSTERS, count)]
    for _ in range(FLIPS):
        codes ^= np.uint64(1) << rng.integers(0, 64, count, np.uint64)
    return codes[:, np.newaxis]


def asked_near(codes: Code, queries: int) -> Code:
    """Return `queries` of the codes, each with one bit changed, uint64 [queries, 1]."""
    rng = np.random.default_rng(4)
    flips = np.uint64(1) << rng.integers(0, 64, (queries, 1), np.uint64)
    return codes[rng.integers(0, len(codes), queries)] ^ flips
