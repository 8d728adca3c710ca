"""Generate docs/results/PERFORMANCE.md from the reports in profiles/reports/.

python -m profiles.pages.performance [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edge_runtime.errors import EXIT_CHECK_FAILED
from profiles.pages.daemon import daemon, faults, soak
from profiles.pages.fleet import simulation
from profiles.pages.large import batch, clickhouse, fleet_costs, server
from profiles.pages.lookup import gallery, lookup, lookup_emulated
from profiles.pages.network import emulated, network
from profiles.pages.profiler import profiler
from profiles.pages.running import cameras, first_paint, memory

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "PERFORMANCE.md"
PARTS: dict[str, Callable[[dict[str, Any], Path], list[str]]] = {
    "network-*.json": network,
    "emulated-*.json": emulated,
    "lookup-*.json": lookup,
    "lookup_emulated.json": lookup_emulated,
    "gallery-*.json": gallery,
    "server-*.json": server,
    "clickhouse-*.json": clickhouse,
    "batch-*.json": batch,
    "fleet_costs-*.json": fleet_costs,
    "daemon-*.json": daemon,
    "cameras-*.json": cameras,
    "memory-*.json": memory,
    "first_paint-*.json": first_paint,
    "profiler-*.json": profiler,
    "soak-*.json": soak,
    "faults-*.json": faults,
    "fleet-*.json": simulation,
}
"""The section for each kind of report, in this order."""


def document() -> str:
    """Return the text of the page."""
    parts = [
        "# Performance",
        "`python -m profiles.pages.performance` generates this page from the reports in "
        "`profiles/reports/`, and a test checks that it is up to date. All figures are medians of "
        "one run on one machine, in which the contenders take turns. Compare figures within a "
        "table, not between tables.",
    ]
    reports = ROOT / "profiles" / "reports"
    for pattern, part in PARTS.items():
        for path in sorted(reports.glob(pattern)):
            parts += part(json.loads(path.read_text(encoding="utf-8")), path)
    return "\n\n".join(parts) + "\n"


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare with the existing page instead of writing it.")
def main(check: bool) -> None:
    """Write or check the page."""
    text = document()
    if check:
        sys.exit(
            0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else EXIT_CHECK_FAILED
        )
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
