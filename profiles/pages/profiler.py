"""The profiler's part of docs/results/PERFORMANCE.md, out of the kept report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_NAMES = {
    "same_share": "two runs of the same thing that are no difference, in any stage",
    "found_share": "runs with a stage a tenth slower in which that stage is found, and no other",
    "overhead_share": "what measuring adds to a median query",
}


def profiler(report: dict[str, Any], path: Path) -> list[str]:
    """Whether its verdicts can be trusted."""
    device, tries = report["device"], report["tries"]
    rows = ["| | measured | bar |", "|---|---|---|"]
    for name, bar in report["bars"].items():
        most = "at most" if name == "overhead_share" else "at least"
        rows.append(f"| {_NAMES[name]} | {bar['figure']:.1%} | {most} {bar['bar']:.0%} |")
    times = ["| planted in | ms without | ms with | found in |", "|---|---|---|---|"]
    for one in tries:
        before, after = one["planted_ms"]
        found = ", ".join(one["found"]) or "nothing"
        times.append(f"| {one['planted']} | {before:.3f} | {after:.3f} | {found} |")
    disturbed = sum(bool(one["brands"]) for one in tries)
    return [
        f"## The profiler, {device['machine']}",
        f"`make bench-profiler` on {device['cpu']} ([report](../../profiles/reports/{path.name})): "
        f"{len(tries)} tries of three `edge-runtime profile --quick` runs each, two of the same "
        f"thing and one with a stage made a tenth slower. In {disturbed} of the tries a run was "
        "branded as disturbed by others.",
        "\n".join(rows),
        "\n".join(times),
    ]
