"""The report of estimates: counts of the stages, and latencies that the model derives from them.

The report contains the counts, so a better model needs no new emulation (`with_estimates`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from compile.emulation.counters import CLASSES
from compile.target.description import Likeness, Target, read_target
from edge_runtime.errors import ReportError, TargetError
from profiles.estimate.calibration import Calibration, Numbers
from profiles.estimate.latency import (
    TARGETS,
    CoreModel,
    Row,
    fit,
    kinds,
    rows,
    usual,
    within,
    worst,
)

SCHEMA_VERSION = 1
KIND = "estimate"
NOTE = (
    "Estimates, not measurements: exact counts on an emulated CPU, turned into time by a model "
    "that was fitted on published times of other networks. One thread, all warm, nothing else "
    "running: compare them with a p50."
)
QUERY = ("fit", "gate", "hash", "pack", "lookup", "decide")
"""The stages of a query, as in the profiler."""
BRANCHY = 0.5
"""A stage with a smaller share of vector instructions than this is branchy code."""
BRANCHY_FACTOR = 2.0
"""Error factor of estimates for branchy code, either way: no published row is such code."""
BOARDS = ("held_back_boards", "each_board_left_out_in_turn")
VECTOR = ("fma", "vector", "vload", "vstore")
Entry = dict[str, Any]


def new_report() -> Entry:
    """Return a report without devices."""
    return {"schema_version": SCHEMA_VERSION, "kind": KIND, "note": NOTE, "targets": {}}


def add_counts(report: Entry, target: Target, precision: str, bundle: Entry) -> None:
    """Store the counts of a bundle, replacing earlier ones."""
    entry = report["targets"].setdefault(target.name, {"precisions": {}})
    entry["precisions"][precision] = bundle


def check_kind(report: Entry, where: object) -> None:
    """Raise `ReportError` unless it is a report of this kind and version."""
    kind, version = report.get("kind"), report.get("schema_version")
    if (kind, version) != (KIND, SCHEMA_VERSION):
        raise ReportError(
            f"expected a report of kind {KIND}, schema version {SCHEMA_VERSION}, "
            f"got kind {kind}, version {version}",
            where=where,
            remedy="create a new one: python -m profiles.estimate --out ANOTHER",
        )


def with_estimates(report: Entry, calibration: Calibration) -> Entry:
    """Return the report with all estimates recomputed from its counts.

    Raises `EdgeRuntimeError`.
    """
    targets = {name: read_target(name) for name in sorted(report["targets"])}
    cores = sorted({likeness_of(target).core for target in targets.values()})
    models = {core: fit(core, calibration) for core in cores}
    return {
        **report,
        "note": NOTE,
        "targets": {
            name: _target(report["targets"][name], target, models, calibration)
            for name, target in targets.items()
        },
        "calibration": {
            "source": calibration.source,
            "left_out": calibration.left_out,
            "held_back_networks": sorted(calibration.held_back),
            "cores": {core: _core(model, calibration) for core, model in models.items()},
        },
    }


def likeness_of(target: Target) -> Likeness:
    """Return the core and memory by which the device is estimated; raises `TargetError`."""
    if target.likeness is None:
        raise TargetError(
            "no [estimate] section",
            where=target.name,
            remedy="add [estimate] with core and memory, as in rpi4.toml",
        )
    return target.likeness


def is_published(target: Target, calibration: Calibration) -> bool:
    """Return whether the device is one of the boards with published times."""
    likeness = likeness_of(target)
    return not likeness.by_analogy and any(
        (board.board, board.clock_mhz) == (likeness.memory, target.clock_mhz)
        for board in calibration.boards
    )


def error_of(target: Target, model: CoreModel, calibration: Calibration) -> float:
    """Return the relative error assigned to the device's estimates of vector code.

    This is the worst error of a held-back network. For a device without published times, the
    errors of held-back boards count as well.
    """
    judged = kinds(model, calibration)
    boards = [row for kind in BOARDS for row in judged.get(kind, [])]
    itself = is_published(target, calibration)
    return worst(judged["held_back_networks"] + ([] if itself else boards))


def _target(
    entry: Entry, target: Target, models: dict[str, CoreModel], calibration: Calibration
) -> Entry:
    likeness = likeness_of(target)
    model = models[likeness.core]
    if likeness.memory not in model.memory_ns:
        raise TargetError(
            f'no calibration data for the memory of "{likeness.memory}"',
            where=target.name,
            remedy=f"set [estimate] memory to one of {', '.join(model.memory_ns)}",
        )
    error = error_of(target, model, calibration)
    return {
        "board": target.board,
        "cpu": target.cpu,
        "clock_mhz": target.clock_mhz,
        "threads": 1,
        "estimated_by": {
            "core": likeness.core,
            "memory": likeness.memory,
            "by_analogy": likeness.by_analogy,
            "is_published": is_published(target, calibration),
            "relative_error": _round(error),
        },
        "precisions": {
            precision: _bundle(bundle, target, likeness, model, error)
            for precision, bundle in entry["precisions"].items()
        },
    }


def _bundle(
    bundle: Entry, target: Target, likeness: Likeness, model: CoreModel, error: float
) -> Entry:
    stages = {
        name: _stage(stage["counts"], target, likeness, model, error)
        for name, stage in bundle["stages"].items()
    }
    query = [stages[name] for name in QUERY if name in stages]
    return {
        **bundle,
        **_sum("query", query),
        **_sum("end_to_end", stages.values()),
        "stages": stages,
    }


def _stage(
    counts: Numbers, target: Target, likeness: Likeness, model: CoreModel, error: float
) -> Entry:
    instructions = sum(counts[name] for name in CLASSES)
    branchy = sum(counts[name] for name in VECTOR) < BRANCHY * instructions
    memory_ns = model.memory_ns[likeness.memory]
    latency = model.branchy_ms if branchy else model.latency_ms
    ms = latency(counts, target.clock_mhz, memory_ns)
    low, high = 1 / (1 + error), 1 / (1 - error)
    if branchy:
        low, high = 1 / BRANCHY_FACTOR, BRANCHY_FACTOR
    if likeness.by_analogy:
        low = min(low, 0.5)
    return {
        "code": "branchy" if branchy else "vector",
        "counts": dict(counts),
        "estimated_ms": _round(ms),
        "estimated_low_ms": _round(ms * low),
        "estimated_high_ms": _round(ms * high),
    }


def _sum(name: str, stages: Iterable[Entry]) -> Entry:
    some = list(stages)
    return {
        f"estimated_{name}{kind}_ms": _round(sum(stage[f"estimated{kind}_ms"] for stage in some))
        for kind in ("", "_low", "_high")
    }


def _core(model: CoreModel, calibration: Calibration) -> Entry:
    return {
        "cycles": {name: _round(value) for name, value in model.cycles.items()},
        "bar": TARGETS[model.core],
        "memory_ns_per_l2_miss": {name: _round(value) for name, value in model.memory_ns.items()},
        "errors": {
            name: {
                "rows": len(some),
                "median_error": _round(usual(some)),
                "worst_error": _round(worst(some)),
                "rows_within_bar": len(within(some)),
            }
            for name, some in kinds(model, calibration).items()
        },
        "rows": [_row(row) for row in rows(model, calibration)],
    }


def _row(row: Row) -> Entry:
    return {
        "board": row.board,
        "network": row.net,
        "held_back": row.held_back,
        "published_ms": row.published_ms,
        "estimated_ms": _round(row.estimated_ms),
        "error": _round(row.error),
    }


def _round(value: float) -> float:
    """Round to four digits, so that the linear algebra of every machine gives the same value."""
    return float(f"{value:.4g}")
