"""Measure `edge-runtime serve`: queries per second, CPU time and bytes per query.

    python -m profiles.bench.server [--codes 1e6] [--gallery FILE] [--batch 100]

The codes are clustered, as learned codes are. Requests go over one connection of the loopback
address, one after the other. The CPU time is that of the server alone, so it is little disturbed by
other work on the machine; the rate is. The peers search the same codes in this process, without
HTTP: faiss (make setup-bench installs it) and a plain table in SQLite with a function for the
distance. All must find the same distances.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import click
import numpy as np
import psutil

from edge_runtime.code import Code
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode

K = 5
PART = 20_000
WARM_UP = 100
LABELS = 1000
CLUSTERS, FLIPS = 10_000, 3
"""Clusters of codes, and bits that are changed in each code."""
SQLITE_QUERIES = 3

Distances = list[list[int]]


@click.command(help=__doc__)
@click.option("--codes", "count", type=float, default=1e6, show_default=True)
@click.option("--gallery", type=click.Path(path_type=Path), help="Kept, and used if it exists.")
@click.option("--queries", type=click.IntRange(10), default=2000, show_default=True)
@click.option("--batch", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--settle", default=0.0, show_default=True, help="Seconds to wait for the index.")
def main(count: float, gallery: Path | None, queries: int, batch: int, settle: float) -> None:
    """Measure and print."""
    rng = np.random.default_rng(3)
    codes = _clustered(int(count), rng)
    flips = np.uint64(1) << rng.integers(0, 64, (queries, 1), np.uint64)
    asked = codes[rng.integers(0, len(codes), queries)] ^ flips
    with tempfile.TemporaryDirectory(prefix="edge-server-") as folder:
        path = gallery or Path(folder) / "gallery.sqlite"
        if not path.exists():
            _make(path, codes)
        click.echo(f"{len(codes)} codes in {CLUSTERS} clusters, k = {K}")
        server, port = _start(path)
        try:
            process = psutil.Process(server.pid)
            connection = HTTPConnection("127.0.0.1", port, timeout=600)
            found = _single(connection, asked[:WARM_UP])[0]
            time.sleep(settle)
            _report("GET, one code", process, queries, lambda: _single(connection, asked))
            name = f"POST, {batch} codes"
            _report(name, process, queries, lambda: _batches(connection, asked, batch))
            click.echo(f"memory of the server {process.memory_info().rss / 1e6:.0f} MB")
        finally:
            server.terminate()
            server.wait()
        _peers(codes, asked, found)


def _clustered(count: int, rng: np.random.Generator) -> Code:
    """Return codes of 64 bits, uint64 [count, 1], in clusters with a few bits changed in each."""
    centers = rng.integers(0, 2**64, CLUSTERS, np.uint64)
    codes = centers[rng.integers(0, CLUSTERS, count)]
    for _ in range(FLIPS):
        codes ^= np.uint64(1) << rng.integers(0, 64, count, np.uint64)
    return codes[:, np.newaxis]


def _make(path: Path, codes: Code) -> None:
    def parts() -> Iterator[list[LabeledCode]]:
        for start in range(0, len(codes), PART):
            part = codes[start : start + PART]
            yield [
                LabeledCode(f"label {(start + i) % LABELS}", code) for i, code in enumerate(part)
            ]

    with Gallery(path, FakeEngine().model, create=True) as gallery:
        gallery.enroll_parts(parts(), lambda: ())
        gallery.snapshot()


def _start(path: Path) -> tuple[subprocess.Popen[str], int]:
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "edge_runtime", "serve", "--port", "0"),
            *("--gallery", str(path), "--requests-per-minute", "100000"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr
    for line in server.stderr:
        if " at http" in line:
            return server, int(line.strip().rstrip("/").rpartition(":")[2])
    raise click.ClickException("the server did not start")


def _single(connection: HTTPConnection, asked: Code) -> tuple[Distances, int]:
    found, size = [], 0
    for code in asked:
        connection.request("GET", f"/v1/near/{code.tobytes().hex()}?k={K}")
        body = connection.getresponse().read()
        size += len(body)
        found.append([match["distance"] for match in json.loads(body)["matches"]])
    return found, size


def _batches(connection: HTTPConnection, asked: Code, batch: int) -> tuple[Distances, int]:
    found, size = [], 0
    for start in range(0, len(asked), batch):
        names = [code.tobytes().hex() for code in asked[start : start + batch]]
        connection.request("POST", "/v1/near", json.dumps({"codes": names, "k": K}))
        body = connection.getresponse().read()
        size += len(body)
        for answer in json.loads(body)["answers"]:
            found.append([match["distance"] for match in answer["matches"]])
    return found, size


def _report(
    name: str, process: psutil.Process, queries: int, run: Callable[[], tuple[Distances, int]]
) -> None:
    cpu_s, began_s = sum(process.cpu_times()[:2]), time.perf_counter()
    _, size = run()
    took_s = time.perf_counter() - began_s
    cpu_s = sum(process.cpu_times()[:2]) - cpu_s
    click.echo(
        f"{name:20} {queries / took_s:9.0f} queries/s {cpu_s / queries * 1e3:8.3f} ms CPU each "
        f"{size / queries:7.0f} bytes each"
    )


def _peers(codes: Code, asked: Code, expected: Distances) -> None:
    """Measure the peers on the first queries, in CPU time of this process."""
    try:
        import faiss
    except ImportError:
        click.echo("faiss is not installed: make setup-bench")
    else:
        faiss.omp_set_num_threads(1)
        index = faiss.IndexBinaryFlat(64)
        index.add(codes.view(np.uint8).reshape(-1, 8))
        queries = asked.view(np.uint8).reshape(-1, 8)
        began_s = time.process_time()
        distances = [index.search(query[None], K)[0][0].tolist() for query in queries[:WARM_UP]]
        _show("faiss, one code", began_s, WARM_UP, distances == expected)
        began_s = time.process_time()
        distances = index.search(queries[:WARM_UP], K)[0].tolist()
        _show(f"faiss, {WARM_UP} codes", began_s, WARM_UP, distances == expected)
    database = sqlite3.connect(":memory:")
    database.create_function("ones", 1, int.bit_count, deterministic=True)
    database.execute("CREATE TABLE code (id INTEGER PRIMARY KEY, low INTEGER, high INTEGER)")
    halves = ((int(code) & 0xFFFFFFFF, int(code) >> 32) for code in codes[:, 0])
    database.executemany("INSERT INTO code (low, high) VALUES (?, ?)", halves)
    differ = "ones((low | {low}) - (low & {low})) + ones((high | {high}) - (high & {high}))"
    began_s, distances = time.process_time(), []
    for code in asked[:SQLITE_QUERIES, 0]:
        term = differ.format(low=int(code) & 0xFFFFFFFF, high=int(code) >> 32)
        rows = database.execute(f"SELECT {term} AS d, id FROM code ORDER BY d, id LIMIT {K}")
        distances.append([row[0] for row in rows])
    _show("SQLite", began_s, SQLITE_QUERIES, distances == expected[:SQLITE_QUERIES])


def _show(name: str, began_s: float, queries: int, same: bool) -> None:
    each_ms = (time.process_time() - began_s) / queries * 1e3
    verdict = "" if same else "  other distances!"
    click.echo(f"{name:20} {1e3 / each_ms:9.0f} queries/s {each_ms:8.3f} ms CPU each{verdict}")


if __name__ == "__main__":
    main()
