"""The part of docs/results/PERFORMANCE.md that is about the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profiles.bench.support.cores import NEAR_NS

LANES = 4
"""Float32 numbers in a vector register of NEON, one multiply-add each an instruction."""
STRASSEN = ("edge-runtime fp32", "MNN fp32")
"""Who multiplies large matrices so; of MNN, its Convolution1x1Strassen."""


def network(report: dict[str, Any], path: Path) -> list[str]:
    """Times on a real machine, of profiles/bench/network.py."""
    limit = report["limit_ms"]
    parts = [
        f"## The network, {report['machine']}",
        f"`python -m profiles.bench.network` after `make compile TARGET=host`, on {report['cpu']}: "
        f"MobileNet-v1 1.0 224 with 64 bits, one picture a call, milliseconds "
        f"([report](../../profiles/reports/{path.name})). Ours takes the camera's pixels; the peers "
        f"get theirs normalised. {report['multiply_adds'] / 1e6:.0f} M multiply-adds at the "
        f"{report['peak_gmac_s']:.0f} G a second that one core does in registers take "
        f"{limit:.2f} ms: no float32 program without a cleverer algorithm is faster.",
        f"Loading: {report['loading']['first_code_p50_ms']:.0f} ms from importing the engine to "
        f"the first code, every file of the bundle checked; numpy and the engine take "
        f"{report['loading']['numpy_and_engine_mib']:.0f} MiB above bare Python. The library has "
        f"{report['library_bytes'] / 1e6:.2f} MB.",
    ]
    if small := report.get("int8"):
        parts.append(
            f"In int8 (`PRECISION=int8 OUT=build/host-int8`) {small['first_code_p50_ms']:.0f} ms, "
            f"{small['numpy_and_engine_mib']:.0f} MiB and {small['library_bytes'] / 1e6:.2f} MB. "
            "The last column compares int8 with int8, the others with float32."
        )
    for threads, rows in report["threads"].items():
        plural = "s" if threads != "1" else ""
        parts += [f"{threads} thread{plural}:", _times(rows)]
    parts += _placed(report)
    alone, two = (report["apart"][f"{n}_p50_ms"] for n in ("one_process", "two_processes"))
    parts += [
        f"Two separate processes at once take {two:.2f} ms each where one alone takes {alone:.2f} "
        f"ms: the cores of this machine slow each other down, so that two threads can be at most "
        f"{2 * alone / two:.2f} times as fast as one.",
        "2 threads while another program keeps every core busy:",
        _times(report["busy"]),
    ]
    return parts


def _placed(report: dict[str, Any]) -> list[str]:
    """Two threads, told apart by how far the host kept the cores from each other."""
    one, two = report["threads"]["1"], report["threads"]["2"]
    if not any("near" in row or "far" in row for row in two.values()):
        return []
    lines = [
        "| | near: wall p50 | of one thread's speed | far: wall p50 | of one thread's speed |",
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
        f"These two cores are a virtual machine's, and its host moves them about: a cache line "
        f"goes from one to the other in less than {NEAR_NS} ns (near, as on a board whose cores "
        f"share a cache) or in two to four times as long (far). It was measured before and after "
        f"every block of calls; of ours {calls['near']} were near, {calls['far']} far, the others "
        "in between:",
        "\n".join(lines),
    ]


def _times(rows: dict[str, dict[str, float]]) -> str:
    whole = {name: row for name, row in rows.items() if name.startswith("edge-runtime int8")}
    exact = {"": rows["edge-runtime"], **whole}
    lines = [
        "| | wall p50 | wall p99 | CPU p50 | ours / it, CPU |",
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
    """Counts on an emulated CPU, of profiles/bench/emulated.py."""
    lines = [
        "| | M instructions | of them multiply-adds | M L1 misses | M L2 misses |",
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
        f"TARGET={report['target']}`: what the emulated CPU of a {report['board']} does in one "
        f"call, one thread ([report](../../profiles/reports/{path.name})). Exact counts, not times.",
        "\n".join(lines),
        _limit(report),
        *_left_out(report["left_out"]),
    ]


def _limit(report: dict[str, Any]) -> str:
    """What plain float32 cannot do with fewer, and who does."""
    floor = report["multiply_adds"] / LANES
    below = [
        f"{name.removesuffix(' fp32')} ({row['multiply_add_instructions'] / 1e6:.2f} M)"
        for name, row in report["counts"].items()
        if name in STRASSEN and row["multiply_add_instructions"] < floor
    ]
    text = (
        f"The limit: {report['multiply_adds'] / 1e6:.0f} M multiply-adds, {LANES} float32 lanes an "
        f"instruction, are {floor / 1e6:.0f} M multiply-add instructions."
    )
    if below:
        verb = "multiplies" if len(below) == 1 else "multiply"
        text += (
            f" Below it, {' and '.join(below)} {verb} large matrices by Strassen's method, in "
            "which seven products do for eight."
        )
    return text


def _left_out(reasons: dict[str, str]) -> list[str]:
    """Who is not in the table, those with the same reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    told = "; ".join(f"{' and '.join(who)}, since {reason}" for reason, who in names.items())
    return [f"Left out: {told}."] if told else []
