"""The daemon's part of docs/results/PERFORMANCE.md, out of the kept reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_NAMES = {
    "overhead_p99_ms": "the path beyond capture and network, 640 x 480, p99, ms a frame",
    "still_cpu_percent": "a still scene at 10 frames a second, page on, % of one core",
    "start_ms": "starting the command (`edge-runtime --version`), ms",
    "rss_with_page_mb": "memory with the portable engine and the page, MB",
    "rss_without_page_mb": "memory with the portable engine alone, MB",
}


def daemon(report: dict[str, Any], path: Path) -> list[str]:
    """Costs of the daemon, and of its scene-change gate."""
    device = report["device"]
    rows = ["| | measured | bar |", "|---|---|---|"]
    for name, bar in report["bars"].items():
        rows.append(f"| {_NAMES[name]} | {bar['figure']:.2f} | {bar['bar']:g} |")
    stages = report["overhead"]["stages"]
    times = ", ".join(f"{stage} {times['p50_ms']:.2f}" for stage, times in stages.items())
    gate = [
        "| clip | camera | frames | hashed | held otherwise | events |",
        "|---|---|---|---|---|---|",
    ]
    for clip in report["gate"]:
        for kind in ("pixels", "jpegs"):
            run = clip[kind]
            told = "the same" if run["events_equal"] else f"{run['events_with_gate']} with the gate"
            gate.append(
                f"| {clip['clip']} | {kind} | {clip['frames']} | {run['hashed']} | "
                f"{run['frames_held_otherwise']} | {run['events']}, {told} |"
            )
    cameras = ", ".join(
        f"{run['camera']} {run['cpu_percent']:.2f} %"
        + ("" if run["page"] else " without the page")
        + (f" (JPEGs of {run['jpeg_bytes'] / 1000:.0f} kB)" if run.get("jpeg_bytes") else "")
        for run in report["still"]
    )
    return [
        f"## The daemon, {device['machine']}",
        f"`make bench-daemon` on {device['cpu']} ([report]({_link(path)})).",
        "\n".join(rows),
        f"Stages, p50 in milliseconds: {times}. A still scene, by camera: {cameras}.",
        "What the scene-change gate lets through, and whether it costs recognitions: what was held "
        "to be in view, compared frame by frame with a run that hashes every frame. The last two "
        "clips are recordings; each second of them was enrolled as a place of its own. A camera's "
        "JPEGs are decoded at a fraction of their size for the gate, and in full when it opens.",
        "\n".join(gate),
    ]


def soak(report: dict[str, Any], path: Path) -> list[str]:
    """A long run."""
    low, first, last = report["threads"]
    _, descriptors, at_end = report["descriptors"]
    return [
        f"## Soak, {report['device']['machine']}",
        f"`make soak` ([report]({_link(path)})): {report['frames']:,} frames of a film in a loop "
        f"through the whole daemon in {report['seconds'] / 60:.0f} minutes, with "
        f"{report['events']:,} events, {report['enrolments']:,} enrolments and as many removals "
        f"through its page, and SIGHUPs that open camera and gallery anew. Memory after the "
        f"first {report['warm_frames']:,} frames {report['rss_at_start_bytes'] / 1e6:.1f} MB, "
        f"at the end {report['rss_at_end_bytes'] / 1e6:.1f} MB: a drift of "
        f"{report['rss_drift_bytes'] / 1e6:+.2f} MB (bar: 2), at its highest "
        f"{report['rss_highest_above_start_bytes'] / 1e6:+.2f} MB. Threads {first} then {last} "
        f"(never fewer than {low}), descriptors {descriptors} then {at_end}.",
    ]


def faults(report: dict[str, Any], path: Path) -> list[str]:
    """The run with faults."""
    rows = ["| fault | times | slowest recovery, s |", "|---|---|---|"]
    for name, count in sorted(report["kinds"].items()):
        rows.append(f"| {name} | {count} | {report['slowest_s'][name]:.2f} |")
    events = report["events"]
    return [
        f"## Faults, {report['device']['machine']}",
        f"`make faults` ([report]({_link(path)})): {report['faults']} faults in one run, "
        f"recovered from {report['recovered']}, each within {report['bound_s']:g} s of the "
        f"fault's end (a recognition of a new frame). {report['restarts']} restarts of the camera, "
        f"{report['hung']} calls left hanging. Of {events['published']} events "
        f"{events['delivered']} were delivered, {events['dropped']} "
        f"dropped by the full queue and counted, {events['failed']} given up "
        f"and counted. SIGTERM ended it in {report['ended_s']:.2f} s, with "
        f"{report['ended_cpu_s'] * 1e3:.0f} ms of CPU.",
        "\n".join(rows),
    ]


def _link(path: Path) -> str:
    return f"../../profiles/reports/{path.name}"
