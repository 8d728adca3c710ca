"""The summary of a run as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.daemon import Summary


def summary_table(summary: Summary) -> str:
    """Return a run's totals and stage times as readable lines."""
    rate = summary.frames / summary.seconds if summary.seconds else 0.0
    lines = [
        f"{summary.frames} frames in {summary.seconds:.1f} s ({rate:.1f} per second), "
        f"{summary.dropped} dropped, {summary.events} events, "
        f"peak memory {summary.peak_rss_bytes / 1e6:.0f} MB"
    ]
    if summary.stages:
        lines.append(f"{'stage':<12}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for stage, times in summary.stages.items():
        cells = "".join(f"{times[key]:>9.2f}" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms"))
        lines.append(f"{stage:<12}{cells}")
    return "\n".join(lines)
