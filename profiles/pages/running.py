"""The sections of docs/results/PERFORMANCE.md about a running daemon: cameras, memory, page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SOURCES = {"rpicam": "raw pictures", "network": "JPEGs", "film": "film"}


def cameras(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about several cameras in one daemon."""
    device, bars = report["device"], report["bars"]
    count, each = report["cameras"], report["cpu_ms_per_frame"]
    return [
        f"## Several cameras, {device['machine']}",
        f"`make bench-cameras` on {device['cpu']} ([report]({_link(path)})): {count} cameras of "
        f"640 x 480 raw pixels at {report['fps']} frames per second, every frame hashed, with the "
        f"web server. A frame takes {each[str(count)]:.2f} ms of CPU time, and with one camera "
        f"{each['1']:.2f} ms. The network alone takes {report['hash_cpu_ms']:.2f} ms in a process "
        "that runs it as often, and without a pause, when its weights stay in the caches, "
        f"{report['hash_without_pause_cpu_ms']:.2f} ms. All else counts as overhead: reading, "
        "converting and resizing the pictures, lookup, events and the web server.",
        _table(
            bars,
            {
                "times_the_hashes": "CPU time of a frame / that of its hash",
                "times_one_camera": f"CPU time of a frame, {count} cameras / one camera",
            },
        ),
    ]


def memory(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the memory of the daemon."""
    device = report["device"]
    rows = ["| daemon | camera | MB | most MB | target | threads |", "|---|---|---|---|---|---|"]
    for run in report["runs"]:
        bar = report["bars"].get(run["name"])
        rows.append(
            f"| {run['name']} | {run['cameras']} x {_SOURCES[run['camera']]} | {run['rss_mb']:.1f} "
            f"| {run['most_rss_mb']:.1f} | {bar['bar'] if bar else '-'} | {run['threads']} |"
        )
    return [
        f"## Memory of the daemon, {device['machine']}",
        f"`make bench-memory` on {device['cpu']} ([report]({_link(path)})): resident memory with "
        f"the portable engine after {report['seconds']:g} s, and at most. "
        '"Page open" reads the events and the live view of each camera. "All options" are the '
        "inbox of unknown things, the history with snapshots, MQTT with discovery and pictures, "
        f"speech and a region. A film of 640 x 480 takes {report['film_mb']:.1f} MB more than a "
        "camera with raw pictures.",
        "\n".join(rows),
    ]


def first_paint(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the first paint of the page."""
    device, slow, plain = report["device"], report["throttled"], report["unthrottled"]
    return [
        f"## First paint of the page, {device['machine']} with an emulated share",
        f"`make bench-paint` on {device['cpu']} ([report]({_link(path)})): a daemon that hashes "
        f"ten frames per second gets 1/{report['factor']:g} of a core, and the CPU of Chromium is "
        f"throttled {report['factor']:g} times: about a Raspberry Pi 4. Without a cache, the page "
        f"shows its first content after {slow['paint_ms']:.0f} ms (target: "
        f"{report['bars']['first_paint_ms']['bar']:g} ms), and {plain['paint_ms']:.0f} ms without "
        "throttling. The CPU is emulated; no board was used.",
    ]


def _table(bars: dict[str, Any], names: dict[str, str]) -> str:
    rows = ["| | measured | target |", "|---|---|---|"]
    rows += [
        f"| {names[key]} | {bar['figure']:.2f} | {bar['bar']:g} |" for key, bar in bars.items()
    ]
    return "\n".join(rows)


def _link(path: Path) -> str:
    return f"../../profiles/reports/{path.name}"
