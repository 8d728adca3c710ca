"""The sections of docs/results/PERFORMANCE.md about servers, batches and fleets."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def server(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about `edge-runtime serve`, from profiles/bench/server."""
    device, bar = report["device"], report["bars"]["cpu_ms_per_query"]
    rows = [
        "| request | CPU ms per query | least to most | p50 ms | p99 ms | queries/s | bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {row['name']} | {row['cpu_ms']:.3f} | {row['least_cpu_ms']:.3f} to "
        f"{row['most_cpu_ms']:.3f} | {row['request_p50_ms']:.2f} | {row['request_p99_ms']:.2f} | "
        f"{row['queries_per_s']:,.0f} | {row['bytes_per_query']:.0f} |"
        for row in report["ways"]
    ]
    parts = [
        f"## Server, {device['machine']}",
        f"`make bench-server` on {device['cpu']} ([report]({_link(path)})): `edge-runtime serve` "
        f"with {report['codes']:,} codes of 64 bits in {report['clusters']:,} clusters, the "
        f"{report['k']} nearest pictures. One client on the same machine asks over real sockets, "
        "one request after the other; p50 and p99 are the times of requests. The CPU time is "
        "user and system time of the server process "
        f"alone, with HTTP, access control, search and JSON: medians of {report['rounds']} rounds "
        f"of {report['queries']:,} queries, all with other codes. A query of one code takes "
        f"{bar['figure']:.3f} ms (target: {bar['bar']:g} ms). The distances of all ways equal "
        "those of a count by numpy.",
        "\n".join(rows),
        f"The server has {report['memory_mb']:,.0f} MB of memory, with the codes and the index "
        f"({report['index']}).",
    ]
    if report["peers"]:
        lines = ["| without HTTP, in the benchmark's process | codes | CPU ms per query |"]
        lines.append("|---|---|---|")
        lines += [
            f"| {row['name']}{'' if row['right'] else ', WRONG'} | {row['codes']:,} | "
            f"{row['cpu_ms']:,.3f} |"
            for row in report["peers"]
        ]
        parts.append("\n".join(lines))
    return parts


def clickhouse(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about codes in ClickHouse, from profiles/bench/server/clickhouse.py."""
    device = report["device"]
    rows = [
        "| pictures | within, bits | wrong answers | median s | most |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {row['k']} | {'-' if row['radius'] is None else row['radius']} | {row['different']} of "
        f"{report['queries']} | {row['median_s']:.2f} | {row['most_s']:.2f} |"
        for row in report["scopes"]
    ]
    return [
        f"## Codes in ClickHouse, {device['machine']}",
        f"`make bench-clickhouse` on {device['cpu']} ([report]({_link(path)})): "
        f"{report['codes']:,} clustered codes, two for each picture, in ClickHouse "
        f"{report['clickhouse']} in one process (chdb), with the tables, settings and "
        "statements of `serve --codes`, but without a cluster. All ids and distances are compared "
        "with those of numpy, which counts the bits "
        "of every code.",
        "\n".join(rows),
    ]


def batch(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about `edge-runtime hash`, from profiles/bench/batch."""
    device, bar = report["device"], report["bars"]["times_the_loop"]
    rows = ["| | photos/s | CPU ms per photo | times the loop |", "|---|---|---|---|"]
    rows += [
        f"| {row['name']} | {row['photos_per_s']:.1f} | {row['cpu_ms_per_photo']:.2f} | "
        f"{row['times_the_loop']:.2f} |"
        for row in report["ways"]
    ]
    photos = " and ".join(report["data"]) or "the demo, with noise"
    return [
        f"## Batch, {device['machine']}",
        f"`make bench-batch` on {device['cpu']} ([report]({_link(path)})): {report['photos']:,} "
        f"photos of {photos}, in turns, {report['rounds']} rounds. The loop reads, digests, "
        "decodes and hashes one photo after the other with the product's own functions, in one "
        "process without a journal. The CPU time is that of all processes, with their start. "
        "Without Dask, "
        f"`edge-runtime hash` takes at most {bar['figure']:.2f} times the CPU time of the loop "
        f"(target: {bar['bar']:g}). All outputs have the same codes.",
        "\n".join(rows),
    ]


_COSTS = {
    "memory_mb": "memory that following adds to a process with the gallery, MB",
    "apply_s": "time to apply the version, s",
    "bytes_per_photo": "delta of a photo of six codes without features, bytes",
    "idle_requests": "requests of a look without news",
    "idle_bytes": "file of a look without news, bytes",
    "metadata_bytes": "signed metadata of a new version, bytes",
}


def fleet_costs(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the costs of a fleet, from profiles/bench/fleet/costs.py."""
    device, memory, features = report["device"], report["memory"], report["features"]
    rows = ["| on a board | measured | target |", "|---|---|---|"]
    rows += [
        f"| {_COSTS[name]} | {bar['figure']:,.{2 if name == 'apply_s' else 1}f} | {bar['bar']:,g} |"
        for name, bar in report["bars"].items()
    ]
    broker = "connected to a broker" if memory["connected"] else "without a broker"
    return [
        f"## Fleet costs, {device['machine']}",
        f"`make bench-fleet-costs` on {device['cpu']} ([report]({_link(path)})). A real desk "
        f"publishes a version with {report['photos']:,} new photos of {report['codes']:,} random "
        "codes, a renamed and a removed label. A static file server counts the bytes. Memory is "
        "resident memory, with python-tuf, paho and what they import, after two looks, "
        f"{broker}: {memory['before'] / 1e6:.1f} MB before and {memory['after'] / 1e6:.1f} MB "
        "after.",
        "\n".join(rows),
        f"- Applying the version takes {report['apply_cpu_s']:.2f} s of CPU time; the rest of its "
        f"time is for the disk. The delta has {report['delta_bytes']:,} bytes in all.\n"
        f"- With headers of HTTP, a look without news is {report['idle']['wire']:,} bytes, and the "
        f"metadata of a new version {report['metadata']['wire']:,} bytes in "
        f"{report['metadata']['requests']} requests.\n"
        f"- With features ({features['numbers']:,} numbers for each of six views), a photo has "
        f"{features['bytes_per_photo']:,.0f} bytes ({features['photos']} photos of the demo, by "
        "the shipped network).",
    ]


def _link(path: Path) -> str:
    return f"../../profiles/reports/{path.name}"
