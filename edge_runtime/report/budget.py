"""Budgets of a device, and the verdict on a report.

A budget is the upper limit of a value. Its name states the value and the unit:
query_p50_ms, query_p99_ms, end_to_end_p50_ms, end_to_end_p99_ms, STAGE_p99_ms, cold_start_ms,
peak_rss_mb, model_mb. Budgets come from a device's description (profiles/devices/*.toml, table
[budgets]), which `make compile` copies into the bundle. The two limits of the papers always apply.
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
"""Stages of the pipeline, in order; see `Warm.stages` in edge_runtime/report/schema.py."""
KNOWN = (
    *(f"{whole}_p{percent}_ms" for whole in ("query", "end_to_end") for percent in (50, 99)),
    *(f"{stage}_p99_ms" for stage in STAGES),
    *("cold_start_ms", "peak_rss_mb", "model_mb"),
)


def checked(budgets: Mapping[str, Any], where: object) -> dict[str, float]:
    """Return `budgets` as floats; raises `ConfigError` for unknown names and invalid values."""
    for name, value in budgets.items():
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, 1)
            remedy = f"did you mean {near[0]}?" if near else f"choose from: {', '.join(KNOWN)}"
            raise ConfigError(f'unknown budget "{name}"', where=where, remedy=remedy)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
            raise ConfigError(f"budget {name} must be a number above 0, got {value!r}", where=where)
    return {name: float(value) for name, value in budgets.items()}


def read_budgets(path: Path) -> dict[str, float]:
    """Read the table [budgets] of a device description or another TOML file.

    Raises `ConfigError`.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        fault = storage_error(error, path)
        raise ConfigError(fault.what if fault else str(error), where=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", where=path, remedy="see toml.io") from error
    budgets = tables.get("budgets")
    if not isinstance(budgets, dict) or not budgets:
        raise ConfigError(
            "the table [budgets] is missing",
            where=path,
            remedy="see profiles/devices/rpi4.toml for an example",
        )
    return checked(budgets, path)


def judge(
    figure_of: Callable[[str], float | None], budgets: Mapping[str, float], source: str
) -> list[Verdict]:
    """Return a verdict for every budget: those of the device, from `source`, and the papers'.

    `figure_of` returns the value for the name of a budget, or None if it was not measured.
    """
    verdicts = []
    for origin, limits in (({source: budgets} if budgets else {}) | PAPERS).items():
        for name, limit in limits.items():
            value = figure_of(name)
            met = None if value is None else value <= limit
            verdicts.append(Verdict(name=name, value=value, budget=limit, source=origin, met=met))
    return verdicts


def figure(report: Report, name: str) -> float | None:
    """Return the value in `report` for the budget `name`; None if it was not measured."""
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
