"""What a device is held to, and the verdict on a report.

A budget is at most so much of a figure, and its name says which figure and which unit:
query_p50_ms, query_p99_ms, end_to_end_p50_ms, end_to_end_p99_ms, STAGE_p99_ms, cold_start_ms,
peak_rss_mb, model_mb. Budgets come from a device's description (profiles/devices/*.toml, table
[budgets]), which `make compile` copies into the bundle; the papers' two lines always hold.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError, storage_error
from edge_runtime.report.schema import Report, Verdict

QUERY_BUDGET_MS = 1000.0
"""A query takes less than a second (Liu et al. 2017, on a 1.8 GHz Kirin 925 phone)."""
MODEL_BUDGET_MB = 13.2
"""The network takes 13 MB (Qi et al. 2017): 3.27 million float32 parameters and their names."""

PAPERS = {
    "Liu et al. 2017": {"query_p99_ms": QUERY_BUDGET_MS},
    "Qi et al. 2017": {"model_mb": MODEL_BUDGET_MB},
}
STAGES = (
    *("capture", "decode", "wait", "fit", "gate", "hash", "pack", "lookup", "decide", "publish"),
)
"""Of the path, in order; `Warm.stages` in edge_runtime/report/schema.py says what each is."""
KNOWN = (
    *(f"{whole}_p{percent}_ms" for whole in ("query", "end_to_end") for percent in (50, 99)),
    *(f"{stage}_p99_ms" for stage in STAGES),
    *("cold_start_ms", "peak_rss_mb", "model_mb"),
)


def checked(budgets: Mapping[str, Any], where: object) -> dict[str, float]:
    """`budgets`, all of whose names are known and whose values are numbers; or `ConfigError`."""
    for name, value in budgets.items():
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, 1)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(KNOWN)}"
            raise ConfigError(f'there is no budget "{name}"', where=where, remedy=remedy)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise ConfigError(
                f"the budget {name} is {value!r}", where=where, remedy="give a number above 0"
            )
    return {name: float(value) for name, value in budgets.items()}


def read_budgets(path: Path) -> dict[str, float]:
    """The table [budgets] of a TOML file, a device's or one of its own; raises `ConfigError`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        fault = storage_error(error, path)
        raise ConfigError(fault.what if fault else str(error), where=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", where=path, remedy="see toml.io") from error
    budgets = tables.get("budgets")
    if not isinstance(budgets, dict) or not budgets:
        raise ConfigError(
            "it has no table [budgets]", where=path, remedy="see profiles/devices/rpi4.toml"
        )
    return checked(budgets, path)


def judge(
    figure_of: Callable[[str], float | None], budgets: Mapping[str, float], source: str
) -> list[Verdict]:
    """Every figure that has a budget: the device's from `source`, and the papers'.

    `figure_of` gives the figure that a budget's name asks for; None: it was not measured.
    """
    verdicts = []
    for whose, lines in (({source: budgets} if budgets else {}) | PAPERS).items():
        for name, most in lines.items():
            value = figure_of(name)
            met = None if value is None else value <= most
            verdicts.append(Verdict(name=name, value=value, budget=most, source=whose, met=met))
    return verdicts


def figure(report: Report, name: str) -> float | None:
    """What `report` says about the budget `name`; None: it was not measured."""
    if name == "model_mb":
        return report.model.file_bytes / 1e6
    if name == "peak_rss_mb":
        return report.memory.peak_rss_bytes / 1e6 if report.memory else None
    if name == "cold_start_ms":
        return report.cold.total_ms if report.cold else None
    stage, _, percent = name.removesuffix("_ms").rpartition("_")
    if report.warm is None or stage not in report.warm.stages:
        return None
    value: float = getattr(report.warm.stages[stage], f"{percent}_ms")
    return value
