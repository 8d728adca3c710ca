"""Other programs that search the same codes, in the benchmark's process and without HTTP."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

import click
import numpy as np

from edge_runtime.code import Code

SQLITE_CODES, SQLITE_QUERIES = 1_000_000, 2
"""SQLite reads every row of a table, so its time grows with them; fewer rows are enough."""


def measure_peers(
    codes: Code, asked: Code, expected: list[list[int]], k: int
) -> list[dict[str, Any]]:
    """Return name, codes, CPU time per query and whether the distances are `expected`."""
    return [*_faiss(codes, asked, expected, k), _sqlite(codes[:SQLITE_CODES], asked, k)]


def _faiss(codes: Code, asked: Code, expected: list[list[int]], k: int) -> list[dict[str, Any]]:
    try:
        import faiss
    except ImportError:
        click.echo("faiss is not installed: make setup-bench", err=True)
        return []
    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(64)
    index.add(codes.view(np.uint8).reshape(-1, 8))
    queries = asked.view(np.uint8).reshape(-1, 8)
    began_s = time.process_time()
    found = [index.search(query[None], k)[0][0].tolist() for query in queries]
    single = _row("faiss, one code", len(codes), began_s, len(asked), found == expected)
    began_s = time.process_time()
    found = index.search(queries, k)[0].tolist()
    name = f"faiss, {len(asked)} codes"
    return [single, _row(name, len(codes), began_s, len(asked), found == expected)]


def _sqlite(codes: Code, asked: Code, k: int) -> dict[str, Any]:
    database = sqlite3.connect(":memory:")
    database.create_function("ones", 1, int.bit_count, deterministic=True)
    database.execute("CREATE TABLE code (id INTEGER PRIMARY KEY, low INTEGER, high INTEGER)")
    halves = ((int(code) & 0xFFFFFFFF, int(code) >> 32) for code in codes[:, 0])
    database.executemany("INSERT INTO code (low, high) VALUES (?, ?)", halves)
    differ = "ones((low | {low}) - (low & {low})) + ones((high | {high}) - (high & {high}))"
    began_s, same = time.process_time(), True
    for code in asked[:SQLITE_QUERIES, 0]:
        term = differ.format(low=int(code) & 0xFFFFFFFF, high=int(code) >> 32)
        rows = database.execute(f"SELECT {term} AS d, id FROM code ORDER BY d, id LIMIT {k}")
        nearest = np.partition(np.bitwise_count(codes[:, 0] ^ code), k)[:k]
        same = same and [row[0] for row in rows] == sorted(nearest.tolist())
    return _row("SQLite", len(codes), began_s, SQLITE_QUERIES, same)


def _row(name: str, codes: int, began_s: float, queries: int, same: bool) -> dict[str, Any]:
    each_ms = (time.process_time() - began_s) / queries * 1e3
    return {"name": name, "codes": codes, "cpu_ms": each_ms, "right": same}
