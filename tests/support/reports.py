"""Reports derived from the golden report."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from edge_runtime.report import Report
from tests.support.processes import ROOT

GOLDEN = ROOT / "tests" / "data" / "report-2.json"
"""A real report, written with version 2 of the schema."""

EXPONENTS = {"hash": 0.15, "fit": 0.3, "decode": 0.4, "lookup": 0.8, "decide": 0.6, "wait": 1.0}
"""Exponent with which a stage follows the calibration loop on a shared machine."""


def report_of(
    count: int = 640,
    *,
    seed: int = 0,
    slow: dict[str, float] | None = None,
    machine: float = 1.0,
) -> Report:
    """Return the golden report as a valid measurement with `count` synthetic samples.

    The times are those of an idle machine: some noise and occasional bursts. The speed of the
    machine drifts around `machine` and affects the calibration loop and the stages. `slow` contains
    a factor by stage.
    """
    data = json.loads(GOLDEN.read_text())
    generator = np.random.default_rng(seed)
    medians = {"capture": 0.005, "decode": 1.2, "wait": 0.1, "fit": 0.3, "hash": 7.0,
               "pack": 0.1, "lookup": 0.2, "decide": 0.02, "publish": 0.0005}  # fmt: skip
    drift = np.cumsum(generator.normal(0, 0.02, count))
    speed = machine * np.exp(drift - drift.mean())
    columns = {}
    for stage, ms in medians.items():
        noise = generator.gamma(4, 0.01, count)
        burst = np.where(generator.random(count) < 0.01, 4.0, 0.0)
        factor = speed ** EXPONENTS.get(stage, 0.5)
        columns[stage] = ms * (slow or {}).get(stage, 1.0) * factor * (1 + noise + burst)
    query = sum(columns[stage] for stage in ("fit", "hash", "pack", "lookup", "decide"))
    whole = query + sum(columns[stage] for stage in ("decode", "wait", "publish"))
    columns |= {"end_to_end": whole, "query": query}
    rounded = {stage: [round(float(x), 4) for x in column] for stage, column in columns.items()}
    calibration = 0.05 * speed * (1 + generator.gamma(4, 0.02, count))
    data["warm"]["samples"] = {
        "at_s": [round(i * 0.009, 4) for i in range(count)],
        "stages_ms": rounded,
        "yardstick_ms": [round(float(x), 4) for x in calibration],
    }
    for stage, samples in rounded.items():
        ordered = sorted(samples)
        data["warm"]["stages"][stage] |= {
            "sample_count": count,
            "p50_ms": ordered[(count - 1) // 2],
            "p99_ms": ordered[round(0.99 * (count - 1))],
            "max_ms": ordered[-1],
        }
    data |= {"brands": [], "measurement": True, "met": True}
    return msgspec.convert(data, Report)


def changed(report: Report, **parts: dict[str, Any]) -> Report:
    """Return `report` with some fields of some parts changed."""
    return msgspec.structs.replace(
        report,
        **{
            name: msgspec.structs.replace(getattr(report, name), **fields)
            for name, fields in parts.items()
        },
    )
