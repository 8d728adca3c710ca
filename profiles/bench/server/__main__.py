"""Measure `edge-runtime serve`: CPU time, latency and bytes of a query.

    python -m profiles.bench.server [--codes 1e7] [--gallery FILE] [--out FILE]

The codes are clustered, as learned codes are. The server is a process, and is asked over real
sockets of the loopback address by one client, one request after the other, in three ways: `GET` of
one code over one connection, `GET` with a connection for each, and `POST` of many codes. The CPU
time is user and system time of the server process alone, so that other work on the machine disturbs
it little; latencies and rates include the client, and are only valid on an idle machine. The ways
take turns. The distances of all answers are checked.

The peers search the same codes in this process, without HTTP: faiss (make setup-bench installs it)
and a plain table in SQLite with a function for the distance.

With --gallery, the file is kept, and used if it exists. At 1e7 codes, making it takes five minutes.
Exit code 9: a target was missed, or distances differ.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import psutil

from edge_runtime.code import Code
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.lookup.planner import INDEX_FROM
from edge_runtime.system.device import read_device
from profiles.bench.server.asking import Asked, K, batches, single
from profiles.bench.server.codes import CLUSTERS, asked_near, clustered
from profiles.bench.server.peers import measure_peers
from profiles.bench.support.results import write_report

PART = 20_000
LABELS = 1000
CHECKED = 100
"""Queries whose distances are compared with those of numpy."""
TARGET_CPU_MS = 0.5


@dataclass
class Way:
    """A way to ask, and what was measured."""

    name: str
    ask: Callable[[Code], Asked]
    cpu_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """Queries per second of each round."""
    waits_s: list[float] = field(default_factory=list)
    size: int = 0


@click.command(help=__doc__)
@click.option("--codes", "count", type=float, default=1e7, show_default=True)
@click.option("--gallery", type=click.Path(path_type=Path), help="Kept, and used if it exists.")
@click.option("--queries", type=click.IntRange(CHECKED), default=2000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--batch", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--peers/--no-peers", default=True, help="Also measure faiss and SQLite.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the report to this file.")
def main(
    count: float,
    gallery: Path | None,
    queries: int,
    rounds: int,
    batch: int,
    peers: bool,
    out: Path | None,
) -> None:
    """Measure and report."""
    codes = clustered(int(count))
    asked = asked_near(codes, queries)
    expected = [_nearest(codes, code) for code in asked[:CHECKED, 0]]
    with tempfile.TemporaryDirectory(prefix="edge-server-") as folder:
        path = gallery or Path(folder) / "gallery.sqlite"
        if not path.exists():
            _make(path, codes)
        server, port, index = _start(path, len(codes))
        process = psutil.Process(server.pid)
        ways = [
            Way("GET, one connection", partial(single, port, keep=True)),
            Way("GET, a connection each", partial(single, port, keep=False)),
            Way(f"POST of {batch} codes", partial(batches, port, size=batch)),
        ]
        try:
            right = all(way.ask(asked[:CHECKED]).distances == expected for way in ways)
            for _ in range(rounds):
                for way in ways:
                    _measure(way, process, asked)
            memory_mb = process.memory_info().rss / 1e6
        finally:
            server.terminate()
            server.wait()
    rows = [_row(way, queries) for way in ways]
    report = {
        "device": asdict(read_device()),
        "codes": len(codes),
        "clusters": CLUSTERS,
        "k": K,
        "queries": queries,
        "rounds": rounds,
        "index": index,
        "memory_mb": memory_mb,
        "ways": rows,
        "peers": measure_peers(codes, asked[:CHECKED], expected, K) if peers else [],
        "right": right,
        "bars": {"cpu_ms_per_query": {"figure": rows[0]["cpu_ms"], "bar": TARGET_CPU_MS}},
    }
    write_report(report, out)
    if not right or rows[0]["cpu_ms"] > TARGET_CPU_MS:
        sys.exit(EXIT_CHECK_FAILED)


def _nearest(codes: Code, code: np.uint64) -> list[int]:
    """Return the distances of the nearest codes, by counting the bits of all."""
    return sorted(np.partition(np.bitwise_count(codes[:, 0] ^ code), K)[:K].tolist())


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


def _start(path: Path, count: int) -> tuple[subprocess.Popen[str], int, str]:
    """Start a server and wait for its index; return its port, and what it says of the index."""
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "edge_runtime", "serve", "--port", "0"),
            *("--gallery", str(path), "--requests-per-minute", "100000"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr
    port, index = 0, "" if count >= INDEX_FROM else "none"
    for line in server.stderr:
        if " at http" in line:
            port = int(line.strip().rstrip("/").rpartition(":")[2])
        elif "index" in line:
            index = line.strip().partition(": ")[2]
        if port and index:
            return server, port, index
    raise click.ClickException("the server did not start")


def _measure(way: Way, process: psutil.Process, asked: Code) -> None:
    cpu_s, began_s = sum(process.cpu_times()[:2]), time.perf_counter()
    found = way.ask(asked)
    way.rates.append(len(asked) / (time.perf_counter() - began_s))
    way.cpu_s.append(sum(process.cpu_times()[:2]) - cpu_s)
    way.waits_s += found.waits_s
    way.size = found.size


def _row(way: Way, queries: int) -> dict[str, Any]:
    waits_s = sorted(way.waits_s)
    each_ms = [cpu_s / queries * 1e3 for cpu_s in way.cpu_s]
    return {
        "name": way.name,
        "cpu_ms": median(each_ms),
        "least_cpu_ms": min(each_ms),
        "most_cpu_ms": max(each_ms),
        "request_p50_ms": median(waits_s) * 1e3,
        "request_p99_ms": waits_s[-(-len(waits_s) * 99 // 100) - 1] * 1e3,
        "queries_per_s": median(way.rates),
        "bytes_per_query": way.size / queries,
    }


if __name__ == "__main__":
    main()
