"""The section of docs/results/PERFORMANCE.md about the profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_NAMES = {
    "same_share": "pairs of runs of the same program without a reported difference in any stage",
    "found_share": "runs with one stage 10 % slower in which exactly that stage is reported",
    "overhead_share": "overhead of measuring on a median query",
}


def profiler(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the reliability of the profiler's verdicts."""
    device, tries = report["device"], report["tries"]
    rows = ["| | measured | target |", "|---|---|---|"]
    for name, target in report["bars"].items():
        most = "at most" if name == "overhead_share" else "at least"
        rows.append(f"| {_NAMES[name]} | {target['figure']:.1%} | {most} {target['bar']:.0%} |")
    times = ["| stage slowed down | ms before | ms after | stage reported |", "|---|---|---|---|"]
    for one in tries:
        before, after = one["planted_ms"]
        reported = ", ".join(one["found"]) or "none"
        times.append(f"| {one['planted']} | {before:.3f} | {after:.3f} | {reported} |")
    disturbed = sum(bool(one["brands"]) for one in tries)
    return [
        f"## The profiler, {device['machine']}",
        f"`make bench-profiler` on {device['cpu']} ([report](../../profiles/reports/{path.name})): "
        f"{len(tries)} trials of three `edge-runtime profile --quick` runs each: two of the same "
        f"program and one with a stage slowed down by 10 %. {disturbed} of the trials had a run "
        "that was flagged as disturbed by other processes.",
        "\n".join(rows),
        "\n".join(times),
    ]
