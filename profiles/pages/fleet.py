"""The section of docs/results/PERFORMANCE.md about a fleet under faults."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

_KINDS = ("killed", "stopped", "partitioned", "wiped")


def simulation(report: dict[str, Any], path: Path) -> list[str]:
    """Return the section about the runs of `profiles.bench.fleet`."""
    runs = report["runs"]
    seeds = " ".join(f"--seed {run['seed']}" for run in runs)
    rows = [
        "| seed | faults | versions | enrolled | accepted | rejected | undecided | equal boards "
        "| queries | failed queries | agreed after |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        rows.append(
            f"| {run['seed']} | {sum(run['faults'].values())} | {run['versions']} "
            f"| {run['enrolled']} | {run['accepted']} | {run['rejected']} | {run['undecided']} "
            f"| {run['boards_equal_to_the_replayed_log']} of {report['boards']} "
            f"| {run['queries_answered']} | {run['queries_failed']} | {run['agreed_after_s']:g} s |"
        )
    left_out = [
        f"There were no {what}: {report[key]}."
        for what, key in (
            ("partitions", "without_partitions"),
            ("wrong clocks", "without_clock_skew"),
        )
        if report[key]
    ]
    return [
        f"## A fleet under faults, {report['device']['machine']}",
        f"`python -m profiles.bench.fleet {seeds}` ([report](../../profiles/reports/{path.name})): "
        f"a desk, mosquitto, a file server and {report['boards']} boards, as processes of one "
        f"machine, {report['seconds']:g} s for each seed. Each process has a network namespace and "
        "a date of its own. Two thirds of the boards begin with a clock that is wrong by an hour "
        "to 400 days. In each run, the broker's disk is wiped twice, and the desk signs with a "
        "clock that is two days ahead, after which two root keys replace its online keys. "
        "Afterwards, each enrollment must be decided by a signed version, and each board must "
        "have the content that all signed versions give in an empty gallery. A board may be "
        "killed after an enrollment and before it notes it, so a few more may be decided than "
        "were noted. The machine did much other work at the same time, so the processes were "
        "slow: the figures are counts, not rates." + "".join(f" {each}" for each in left_out),
        "\n".join(rows),
        "The faults of all runs:",
        _faults(runs),
    ]


def _faults(runs: list[dict[str, Any]]) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for run in runs:
        for name, count in run["faults"].items():
            part, _, kind = name.partition(": ")
            counts[part, kind if kind in _KINDS else "clock"] += count
    parts = ("board", "desk", "broker", "files")
    rows = ["| fault | boards | desk | broker | file server |", "|---|---|---|---|---|"]
    for kind in (*_KINDS, "clock"):
        shown = {"clock": "clock set ahead or behind", "wiped": "disk wiped"}.get(kind, kind)
        rows.append(f"| {shown} | " + " | ".join(str(counts[part, kind]) for part in parts) + " |")
    return "\n".join(rows)
