"""How long every table takes: measured times, or what the rows say of runs that were not timed."""

from __future__ import annotations

from collections.abc import Mapping

from training.papers.rows import Table
from training.papers.times import Spent
from training.reports.tables import markdown

ALEXNET = "alexnet"
"""A verb without a table of its own: other tables need its network."""
_HOUR, _MINUTE = 3600, 60


def durations(tables: Mapping[str, Table], times: Mapping[str, Spent]) -> list[str]:
    """Return the text and the table of the times of `tables`, in their order."""
    lines, known = [], 0.0
    for name in [*tables, ALEXNET]:
        verb = name.replace("_", "-")
        spent = times.get(verb)
        if spent is not None:
            cpu, wall = spent.cpu_seconds, _minutes(spent.wall_seconds)
            how = "measured" if spent.whole else "measured in part: some runs are older"
            if spent.runs > 1:
                how += f", {spent.runs} starts"
        elif cpu := _seconds_of_rows(tables[name]) if name in tables else 0.0:
            wall, how = "", "from the CPU times of its rows, without the features of the photos"
        else:
            wall, how = "", "not measured: made before times were noted"
        known += cpu
        lines.append([f"`{verb}`", _minutes(cpu) if cpu else "", wall, how])
    machines = ", ".join(dict.fromkeys(spent.machine for spent in times.values()))
    missing = [line[0] for line in lines if not line[1]]
    said = f"Those that are known add up to {known / _HOUR:.1f} hours of CPU time"
    said += f"; {', '.join(missing)} are not in this sum." if missing else "."
    parts = [
        "A command notes its wall and CPU time, summed over its starts. Other programs ran at the"
        " same time, so the wall times are longer than on an idle machine; the CPU times tell more."
        " Features of photos are stored, and the first command that needs them takes their time."
        f" {said}",
        markdown(["command", "CPU time (min)", "wall time (min)", "how it is known"], lines),
    ]
    return [*parts, f"Machine: {machines}."] if machines else parts


def _seconds_of_rows(table: Table) -> float:
    return sum(float(row.extra.get("cpu_seconds", 0)) * len(row.values) for row in table.rows)


def _minutes(seconds: float) -> str:
    return f"{seconds / _MINUTE:.1f}"
