"""How long every table takes: measured times, or what the rows say of runs that were not timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.papers.rows import Table
from training.papers.times import Spent
from training.reports.tables import markdown

ALEXNET = "alexnet"
"""A verb without a table of its own: other tables need its network."""
KINDS = MEASURED, ESTIMATED = "measured", "estimated"
_HOUR, _MINUTE = 3600, 60


@dataclass(frozen=True)
class _Time:
    """How long one command takes."""

    verb: str
    kind: str
    """MEASURED, ESTIMATED, or "" if it is not known."""
    cpu: float = 0.0
    """Seconds."""
    wall: str = ""
    how: str = "not known: made before times were noted"


def durations(tables: Mapping[str, Table], times: Mapping[str, Spent]) -> list[str]:
    """Return the text and the table of the times of `tables`, in their order."""
    found = _times(tables, times)
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in found)]
    lines = [
        [
            f"`{one.verb}`",
            *(_minutes(one.cpu) if one.kind == kind else "" for kind in kinds),
            *(one.wall, one.how),
        ]
        for one in found
    ]
    heads = [f"{kind} CPU time (min)" for kind in kinds]
    parts = [
        "A command notes its wall and CPU time, summed over its starts. Other programs ran at the"
        " same time, so the wall times are several times as long as on an idle machine; the CPU"
        " times tell more, though a busy machine lengthens them, too. Features of photos are"
        f" stored, and the first command that needs them takes their time. {_summary(found)}",
        markdown(["command", *heads, "wall time (min)", "how it is known"], lines),
    ]
    machines = ", ".join(dict.fromkeys(spent.machine for spent in times.values()))
    return [*parts, f"Machine: {machines}."] if machines else parts


def hours(tables: Mapping[str, Table], times: Mapping[str, Spent]) -> str:
    """Return a sentence on the CPU time of all commands: measured, estimated, and not known."""
    return _summary(_times(tables, times))


def _summary(found: Sequence[_Time]) -> str:
    measured, estimated = (
        sum(one.cpu for one in found if one.kind == kind) / _HOUR for kind in KINDS
    )
    said = f"Measured: {measured:.1f} hours of CPU time. Estimated: {estimated:.1f} hours more."
    missing = [f"`{one.verb}`" for one in found if not one.kind]
    return said + (f" Not known: {', '.join(missing)}." if missing else "")


def _times(tables: Mapping[str, Table], times: Mapping[str, Spent]) -> list[_Time]:
    found = []
    for name in [*tables, ALEXNET]:
        verb = name.replace("_", "-")
        rows = _seconds_of_rows(tables[name]) if name in tables else 0.0
        found.append(_known(verb, times.get(verb), rows))
    return found


def _known(verb: str, spent: Spent | None, rows: float) -> _Time:
    """Return the time of a command; `rows` is the CPU seconds that the rows of its table name."""
    if spent is None:
        how = "from the CPU times of its rows, without the features of the photos"
        return _Time(verb, ESTIMATED, rows, how=how) if rows else _Time(verb, "")
    if spent.share < 1:
        how = f"from the first {spent.share:.0%} of its runs, {_minutes(spent.cpu_seconds)} min"
        return _Time(verb, ESTIMATED, spent.cpu_of_all, how=how)
    how = "measured" if spent.whole else "measured in part: some runs are older"
    how += f", {spent.runs} starts" if spent.runs > 1 else ""
    return _Time(verb, MEASURED, spent.cpu_seconds, _minutes(spent.wall_seconds), how)


def _seconds_of_rows(table: Table) -> float:
    return sum(float(row.extra.get("cpu_seconds", 0)) * len(row.values) for row in table.rows)


def _minutes(seconds: float) -> str:
    return f"{seconds / _MINUTE:.1f}"
