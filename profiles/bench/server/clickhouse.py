"""Search 1e8 codes in ClickHouse with the product's statements, and compare with a sort.

    python -m profiles.bench.server.clickhouse [--codes 1e8] [--data FOLDER] [--out FILE]

ClickHouse runs in this process (chdb: make setup-clickhouse), with the product's tables, settings
and statements, but without a cluster. The codes are clustered, two for each picture. The expected
answers are those of numpy, which computes all distances: the same ids, in the same order, at the
same distances. With --data, the loaded codes are kept, and used if they exist. Exit code 9: an
answer differs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EXIT_CHECK_FAILED
from edge_runtime.server.clickhouse.codes import ClickHouseCodes, read_version
from edge_runtime.server.codes import Query, Scope
from edge_runtime.system.device import read_device
from profiles.bench.server.codes import asked_near, clustered
from profiles.bench.server.embedded import ADDRESS, Embedded, make_tables, name_version
from profiles.bench.support.results import write_report

CODES_OF_A_PICTURE = 2
PART = 5_000_000
SCOPES = (Scope(5), Scope(5, 4), Scope(100), Scope(20, 12))
STAMP = "bench"


@click.command(help=__doc__)
@click.option("--codes", "count", type=float, default=1e8, show_default=True)
@click.option("--queries", type=click.IntRange(1), default=12, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="Kept, and used if it exists.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the report to this file.")
def main(count: float, queries: int, data: Path | None, out: Path | None) -> None:
    """Measure and report."""
    codes = clustered(int(count))
    asked = asked_near(codes, queries)
    with tempfile.TemporaryDirectory(prefix="edge-clickhouse-") as name:
        folder = data or Path(name) / "data"
        server = Embedded(folder)
        load_s = None
        if read_version(server) is None:
            began_s = time.perf_counter()
            _load(server, codes, Path(name) / "part")
            load_s = time.perf_counter() - began_s
        search = ClickHouseCodes(ADDRESS, server)
        times, differ = _compare(search, codes, asked)
        server.close()
    report: dict[str, Any] = {
        "device": asdict(read_device()),
        "clickhouse": server.version,
        "codes": len(codes),
        "load_s": load_s,
        "queries": queries,
        "scopes": [
            {
                "k": scope.k,
                "radius": scope.radius,
                "different": differ[scope],
                "median_s": median(times[scope]),
                "most_s": max(times[scope]),
            }
            for scope in SCOPES
        ],
        "different": sum(differ.values()),
    }
    write_report(report, out)
    sys.exit(EXIT_CHECK_FAILED if report["different"] else 0)


def _compare(
    search: ClickHouseCodes, codes: Code, asked: Code
) -> tuple[dict[Scope, list[float]], dict[Scope, int]]:
    """Return the seconds of each query, and the number of wrong answers, by scope."""
    times: dict[Scope, list[float]] = {scope: [] for scope in SCOPES}
    differ = dict.fromkeys(SCOPES, 0)
    for code in asked:
        distances = np.concatenate(
            [np.bitwise_count(codes[i : i + PART, 0] ^ code) for i in range(0, len(codes), PART)]
        )
        for scope in SCOPES:
            began_s = time.perf_counter()
            _, (answer,) = search.near([Query(code, scope)])
            times[scope].append(time.perf_counter() - began_s)
            found = [(match.id, match.distance) for match in answer.matches]
            differ[scope] += found != expected(distances, scope)
        click.echo(f"{len(times[scope])} queries compared, {sum(differ.values())} differ", err=True)
    return times, differ


def _load(server: Embedded, codes: Code, file: Path) -> None:
    """Load the codes; the ids are 1, 2 and so on."""
    table = make_tables(server, STAMP, 64)
    row = np.dtype([("id", "<u8"), ("code", "<u8")])
    for start in range(0, len(codes), PART):
        part = np.empty(min(PART, len(codes) - start), row)
        part["id"] = np.arange(start + 1, start + 1 + len(part))
        part["code"] = codes[start : start + PART, 0]
        part.tofile(file)
        server.execute(
            f"INSERT INTO {table} SELECT id, intDiv(id - 1, {CODES_OF_A_PICTURE}), code, 'label', "
            f"nan, nan, nan FROM file('{file}', 'RowBinary', 'id UInt64, code UInt64')"
        )
        click.echo(f"{start + len(part)} codes loaded", err=True)
    file.unlink()
    name_version(server, STAMP, FakeEngine().model.id, 64, len(codes))


def expected(distances: NDArray[np.uint8], scope: Scope) -> list[tuple[int, int]]:
    """Return the nearest pictures, each by id and distance of its nearest code, ties by id.

    `distances`: those of all codes, whose ids are 1, 2 and so on.
    """
    bound = 64 if scope.radius is None else scope.radius
    counts = np.bincount(distances, minlength=65).cumsum()
    # No more rows than these can be needed: all at the distance of the last one belong to them.
    needed = CODES_OF_A_PICTURE * scope.k
    last = min(bound, int(np.searchsorted(counts, needed)))
    rows = np.flatnonzero(distances <= last)
    order = rows[np.lexsort((rows, distances[rows]))]
    found: dict[int, tuple[int, int]] = {}
    for number in order.tolist():
        found.setdefault(number // CODES_OF_A_PICTURE, (number + 1, int(distances[number])))
    return list(found.values())[: scope.k]


if __name__ == "__main__":
    main()
