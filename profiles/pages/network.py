"""The sections of docs/results/PERFORMANCE.md about the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profiles.bench.support.cores import NEAR_NS

LANES = 4
"""Float32 lanes of a NEON register: multiply-adds per instruction."""
STRASSEN = ("edge-runtime fp32", "MNN fp32")
"""Contenders that use Strassen's method; in MNN, it is Convolution1x1Strassen."""


def network(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section with times on a real machine, from profiles/bench/network.py."""
    limit = report["limit_ms"]
    parts = [
        f"## The network, {report['machine']}",
        f"`python -m profiles.bench.network` after `make compile TARGET=host`, on {report['cpu']}: "
        f"MobileNet-v1 1.0 224 with 64 bits, one picture per call, in milliseconds "
        f"([report](../../profiles/reports/{path.name})). edge-runtime starts from the camera's "
        f"pixels, the peers from normalized input. The network has "
        f"{report['multiply_adds'] / 1e6:.0f} M multiply-adds. At the peak rate of one core, "
        f"{report['peak_gmac_s']:.0f} G per second in registers, they take {limit:.2f} ms, which "
        f"is the limit for a float32 program without a faster algorithm.",
        f"Loading takes {report['loading']['first_code_p50_ms']:.0f} ms from importing the engine "
        f"to the first code, with every file of the bundle verified. numpy and the engine need "
        f"{report['loading']['numpy_and_engine_mib']:.0f} MiB more memory than bare Python. The "
        f"library has {report['library_bytes'] / 1e6:.2f} MB.",
    ]
    if small := report.get("int8"):
        parts.append(
            f"In int8 (`PRECISION=int8 OUT=build/host-int8`), these figures are "
            f"{small['first_code_p50_ms']:.0f} ms, {small['numpy_and_engine_mib']:.0f} MiB and "
            f"{small['library_bytes'] / 1e6:.2f} MB. In the last column, int8 engines are compared "
            "with edge-runtime int8, all others with edge-runtime in float32: 0.83 means that "
            "edge-runtime takes 0.83x the other engine's CPU time."
        )
    for threads, rows in report["threads"].items():
        plural = "s" if threads != "1" else ""
        parts += [f"{threads} thread{plural}:", _times(rows)]
    parts += _placed(report)
    alone, two = (report["apart"][f"{n}_p50_ms"] for n in ("one_process", "two_processes"))
    parts += [
        f"Two independent processes at once take {two:.2f} ms per picture each, one process alone "
        f"{alone:.2f} ms. This shows how much the cores of this machine slow each other down: two "
        f"threads can be at most {2 * alone / two:.2f} times as fast as one.",
        "2 threads while another program keeps every core busy:",
        _times(report["busy"]),
    ]
    return parts


def _placed(report: dict[str, Any]) -> list[str]:
    """Return the table of two threads, grouped by the distance of the cores."""
    one, two = report["threads"]["1"], report["threads"]["2"]
    if not any("near" in row or "far" in row for row in two.values()):
        return []
    lines = [
        "| | near: wall p50 | speedup over one thread | far: wall p50 | speedup over one thread |",
        "|---|---|---|---|---|",
    ]
    for name, row in two.items():
        cells = [name]
        for place in ("near", "far"):
            wall = row.get(place, {}).get("wall_p50_ms")
            times = one[name]["wall_p50_ms"] / wall if wall else None
            cells += [f"{wall:.2f}" if wall else "-", f"{times:.2f}" if times else "-"]
        lines.append("| " + " | ".join(cells) + " |")
    calls = {place: two["edge-runtime"].get(place, {}).get("calls", 0) for place in ("near", "far")}
    return [
        f"These two cores belong to a virtual machine, whose host may move them between "
        f"physical cores. A cache line "
        f"goes from one to the other in less than {NEAR_NS} ns (near, as on a board whose cores "
        f"share a cache) or in two to four times as long (far). The distance was measured before "
        f"and after every block of calls. Of the calls of edge-runtime, {calls['near']} were near "
        f"and {calls['far']} far; for the others, the distance changed during the block:",
        "\n".join(lines),
    ]


def _times(rows: dict[str, dict[str, float]]) -> str:
    whole = {name: row for name, row in rows.items() if name.startswith("edge-runtime int8")}
    exact = {"": rows["edge-runtime"], **whole}
    lines = [
        "| | wall p50 | wall p99 | CPU p50 | edge-runtime / engine, CPU |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        ours = exact["edge-runtime int8" if "int8" in name and whole else ""]
        share = ours["cpu_p50_ms"] / row["cpu_p50_ms"]
        lines.append(
            f"| {name} | {row['wall_p50_ms']:.2f} | {row['wall_p99_ms']:.2f} | "
            f"{row['cpu_p50_ms']:.2f} | {share:.2f} |"
        )
    return "\n".join(lines)


def emulated(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section with counts on an emulated CPU, from profiles/bench/emulated.py."""
    lines = [
        "| | M instructions | M multiply-add instructions | M L1 misses | M L2 misses |",
        "|---|---|---|---|---|",
    ]
    for name, row in report["counts"].items():
        cells = [
            row[key] / 1e6
            for key in (
                "instructions",
                "multiply_add_instructions",
                "l1_misses",
                "l2_misses",
            )
        ]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
    return [
        f"## The network, {report['cpu']} (emulated)",
        f"`make bench-emulated TARGET={report['target']}` after `make compile "
        f"TARGET={report['target']}`: what the emulated CPU of a {report['board']} executes in one "
        f"call on one thread ([report](../../profiles/reports/{path.name})). These are exact "
        f"counts, not times.",
        "\n".join(lines),
        _limit(report),
        *_left_out(report["left_out"]),
    ]


def _limit(report: dict[str, Any]) -> str:
    """Return the limit of plain float32 code and the contenders below it."""
    floor = report["multiply_adds"] / LANES
    below = [
        f"{name.removesuffix(' fp32')} ({row['multiply_add_instructions'] / 1e6:.2f} M)"
        for name, row in report["counts"].items()
        if name in STRASSEN and row["multiply_add_instructions"] < floor
    ]
    text = (
        f"The limit: {report['multiply_adds'] / 1e6:.0f} M multiply-adds with {LANES} float32 "
        f"lanes per instruction need {floor / 1e6:.0f} M multiply-add instructions."
    )
    if below:
        verb = "multiplies" if len(below) == 1 else "multiply"
        text += (
            f" Below it, {' and '.join(below)} {verb} large matrices by Strassen's method, in "
            "which seven products replace eight."
        )
    return text


def _left_out(reasons: dict[str, str]) -> list[str]:
    """Return the contenders that are not in the table, grouped by reason."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    listed = "; ".join(f"{' and '.join(who)} ({reason})" for reason, who in names.items())
    return [f"Left out: {listed}."] if listed else []
