"""The sections of docs/results/PERFORMANCE.md about the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_NAMES = {
    "overhead_p99_ms": "query path without capture and network, 640 x 480, p99, ms per frame",
    "still_cpu_percent": "a still scene at 10 frames per second with the web page, % of one core",
    "start_ms": "start of the command (`edge-runtime --version`), ms",
    "rss_with_page_mb": "memory with the portable engine and the page, MB",
    "rss_without_page_mb": "memory with the portable engine alone, MB",
}


def daemon(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the cost of the daemon and of its change gate."""
    device = report["device"]
    rows = ["| | measured | target |", "|---|---|---|"]
    for name, target in report["bars"].items():
        rows.append(f"| {_NAMES[name]} | {target['figure']:.2f} | {target['bar']:g} |")
    stages = report["overhead"]["stages"]
    times = ", ".join(f"{stage} {times['p50_ms']:.2f}" for stage, times in stages.items())
    gate = [
        "| clip | camera | frames | hashed | frames with another answer | events |",
        "|---|---|---|---|---|---|",
    ]
    for clip in report["gate"]:
        for kind in ("pixels", "jpegs"):
            run = clip[kind]
            change = (
                "unchanged" if run["events_equal"] else f"{run['events_with_gate']} with the gate"
            )
            gate.append(
                f"| {clip['clip']} | {kind} | {clip['frames']} | {run['hashed']} | "
                f"{run['frames_held_otherwise']} | {run['events']}, {change} |"
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
        f"Stages, p50 in milliseconds: {times}. CPU use for a still scene, by camera: {cameras}.",
        "The next table shows how many frames the change gate lets through, and whether that costs "
        "recognitions: the label in view is compared, frame by frame, with a run that hashes every "
        "frame. The last two clips are recordings, of which each second was enrolled as a separate "
        "place. For the gate, a camera's JPEGs are decoded at a fraction of their size; they are "
        "decoded in full when the gate opens.",
        "\n".join(gate),
    ]


def soak(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the soak test."""
    low, first, last = report["threads"]
    _, descriptors, at_end = report["descriptors"]
    return [
        f"## Soak, {report['device']['machine']}",
        f"`make soak` ([report]({_link(path)})): the daemon processed "
        f"{report['frames']:,} frames of a looped video in "
        f"{report['seconds'] / 60:.0f} minutes, with "
        f"{report['events']:,} events, {report['enrolments']:,} enrollments and as many "
        f"removals through its web API, and SIGHUPs that reopened the camera and the gallery. It "
        f"used {report['rss_at_start_bytes'] / 1e6:.1f} MB of memory after the first "
        f"{report['warm_frames']:,} frames and {report['rss_at_end_bytes'] / 1e6:.1f} MB at the "
        f"end: a drift of {report['rss_drift_bytes'] / 1e6:+.2f} MB (target: at most 2 MB), with a "
        f"maximum of {report['rss_highest_above_start_bytes'] / 1e6:+.2f} MB. Threads: {first} at "
        f"the start, {last} at the end, never fewer than {low}. File descriptors: {descriptors} at "
        f"the start, {at_end} at the end.",
    ]


def faults(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the run with faults."""
    rows = ["| fault | times | slowest recovery, s |", "|---|---|---|"]
    for name, count in sorted(report["kinds"].items()):
        rows.append(f"| {name} | {count} | {report['slowest_s'][name]:.2f} |")
    events = report["events"]
    return [
        f"## Faults, {report['device']['machine']}",
        f"`make faults` ([report]({_link(path)})): of {report['faults']} faults in one "
        f"run, the daemon recovered from {report['recovered']}, each time recognizing a new frame "
        f"within {report['bound_s']:g} s of the end of the fault. The camera was restarted "
        f"{report['restarts']} times, and {report['hung']} calls were left hanging. Of "
        f"{events['published']} events, {events['delivered']} were delivered, {events['dropped']} "
        f"were dropped by the full queue and counted, and {events['failed']} were given up and "
        f"counted. Shutdown after SIGTERM took {report['ended_s']:.2f} s and "
        f"{report['ended_cpu_s'] * 1e3:.0f} ms of CPU time.",
        "\n".join(rows),
        *_storage_faults(report.get("storage_faults", {})),
    ]


def _storage_faults(kinds: dict[str, int]) -> list[str]:
    """Return the paragraph about the faults of the disk below a gallery; none in old reports."""
    if not kinds:
        return []
    each = ", ".join(f"{name} {count}" for name, count in kinds.items())
    return [
        f"Then the disk below a gallery failed {sum(kinds.values())} times, in every phase of its "
        f"use ({each}). Each operation ended with its result or with an error that says why, and "
        "the gallery was intact."
    ]


def _link(path: Path) -> str:
    return f"../../profiles/reports/{path.name}"
