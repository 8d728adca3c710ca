"""Instructions and estimated times on emulated boards, as profiles.estimate.quantized_cnn wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.papers.rows import Extra, Row

REPORTS = Path(__file__).resolve().parents[3] / "profiles" / "reports"
QUANTIZED, SMALL = REPORTS / "quantized_cnn.json", REPORTS / "low_rank_pruned.json"
BOARDS = {"rpi3": "cortex_a53", "rpi4": "cortex_a72"}
"""Device -> its CPU in the keys of figures."""
ENGINES = ("", "edge-runtime ", "ONNX Runtime ", "ncnn ")
SHOWN = {"": "research program", "_edge_runtime": "edge-runtime", "_onnx_runtime": "ONNX Runtime"}
"""Part of a key -> engine in print."""
MEGA = 1e6
COUNTED = (
    "Instructions are those of one picture, counted exactly on an emulated Cortex-A72 by `python -m"
    " profiles.estimate.quantized_cnn build/papers/low_rank_pruned --fp32 --onnx --out"
    " profiles/reports/low_rank_pruned.json`. They depend on the shapes of the layers alone, so"
    " pruned weights save nothing without a kernel that skips zeros. The research program is"
    " plainer than the other engines: compare figures of one engine. Networks without a figure were"
    " not counted."
)
"""What the page says of them."""
NOT_JUDGED = "not judged by this command yet"
Counts = dict[str, dict[str, dict[str, float]]]
"""Device -> "network/contender" with the engine in front -> its counts."""


def read_counts(path: Path = QUANTIZED) -> Counts:
    """Return the counts in a report; nothing without one."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {name: dict(entry["counts"]) for name, entry in found["targets"].items()}


def board_figures(counts: Counts, name: str) -> dict[str, Extra]:
    """Return the figures of the network "network/contender" on every board and engine."""
    extra: dict[str, Extra] = {}
    for device, board in BOARDS.items():
        for engine in ENGINES:
            one = counts.get(device, {}).get(f"{engine}{name}")
            if one:
                prefix = f"{board}_{engine.strip().replace(' ', '_').replace('-', '_').lower()}"
                extra[f"{prefix.rstrip('_')}_m_instructions"] = round(one["instructions"] / MEGA, 1)
                extra[f"{prefix.rstrip('_')}_estimated_ms"] = round(one["estimated_ms"], 1)
                if "published_ms" in one:
                    extra[f"{prefix.rstrip('_')}_published_ms"] = one["published_ms"]
    return extra


def with_counts(rows: Sequence[Row], names: Mapping[str, str], counts: Counts) -> list[Row]:
    """Return the rows with the figures of their networks; `names` are those in `counts`.

    The instructions of each engine, which are the same on every board, get a key of their own.
    """
    found = []
    for row in rows:
        figures = board_figures(counts, names[row.system]) if row.system in names else {}
        main = {
            f"instructions, {SHOWN[engine]} (million)": value
            for board in BOARDS.values()
            for engine in SHOWN
            if (value := figures.pop(f"{board}{engine}_m_instructions", None)) is not None
        }
        found.append(replace(row, extra={**row.extra, **main, **figures}))
    return found


def not_judged(rows: Sequence[Row], names: Mapping[str, str], counts: Counts) -> list[Row]:
    """Return a row without a value for each network that was counted but has no row."""
    known = {row.system for row in rows}
    return [
        Row(system, "counted only", rows[0].setting, rows[0].measure, missing=NOT_JUDGED)
        for system, name in names.items()
        if system not in known and board_figures(counts, name)
    ]
