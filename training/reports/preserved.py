"""Generate the section of docs/results/ACCURACY.md on training that preserves features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.reports.general import network_table

GENERAL = "0.25"
"""The row of the general model."""
CLEARLY = 2.0
"""Points by which a figure must differ to count: queries of a gallery are few."""


def preserved_section(result: Any) -> list[str]:
    """Write the section from a result of compare-shares with training runs."""
    runs: Mapping[str, Any] = result["runs"]
    better = [name for name in runs if _better(result, name)]
    verdict = (
        f"**Clearly better than the general model: {', '.join(map(_words, better))}.**"
        if better
        else "**None of the runs is clearly better than the general model for new objects without"
        " being worse on the trained labels, so the general model remains the average of weights.**"
    )
    recipes = " ".join(
        f"{_words(name)[0].upper()}{_words(name)[1:]}: {_recipe(run)}."
        for name, run in runs.items()
    )
    first = next(iter(runs.values()))
    pixels = ", ".join(f"{epochs} epochs at {side} pixels" for side, epochs in first["stages"])
    return [
        "### Training that preserves features",
        "Instead of averaging weights afterwards, training can hold the features near those of"
        " ImageNet from the start. The runs learn the labels of grocery and ie_tower from the"
        f" ImageNet weights and are short: {pixels}; the first {first['frozen']} of 27 units are"
        f" frozen, and what they make of {first['stored_views']} augmented views per photo was"
        " computed once. The batch norms keep their statistics. The specialist was trained for 52"
        f" epochs, all units. LP-FT is linear probing, then fine-tuning. {recipes}",
        network_table(result, {name: _words(name) for name in runs}),
        f"{verdict} Differences from the general model, in points, of queries that are right"
        f" (objects with 1 and 3 photos) and of MAP@100 (grocery): {_differences(result)}."
        f" Differences below {CLEARLY:.0f} points do not count. The runs have one seed each.",
    ]


def _words(name: str) -> str:
    return {
        "preserved": "distillation",
        "preserved_more": "strong distillation",
        "lpft": "LP-FT",
        "late_blocks": "low rate alone",
    }.get(name, name)


def _recipe(run: Any) -> str:
    parts = [f"features learn at {run['rate'] * run['features_rate']:g}"]
    if run["preserve"]:
        parts.insert(
            0,
            "the squared distance of the features from those of the ImageNet network, both at"
            f" length 1, is added to the loss with weight {run['preserve']:g}",
        )
    if run["head_first"]:
        parts.insert(0, f"the hash layer alone is trained for the first {run['head_first']} epochs")
    return ", ".join(parts)


def _figures(result: Any, name: str) -> dict[str, float]:
    row = result["rows"][name]
    return {
        "objects, 1": row["objects"]["1"]["right"],
        "objects, 3": row["objects"]["3"]["right"],
        "grocery": row["grocery"]["map100"],
    }


def _better(result: Any, name: str) -> bool:
    """Whether a run gains clearly on new objects, and loses nothing clearly anywhere."""
    found, general = _figures(result, name), _figures(result, GENERAL)
    gains = {key: value - general[key] for key, value in found.items()}
    new = max(gain for key, gain in gains.items() if key != "grocery")
    return new >= CLEARLY and min(gains.values()) > -CLEARLY


def _differences(result: Any) -> str:
    general = _figures(result, GENERAL)
    lines = []
    for name in result["runs"]:
        found = _figures(result, name)
        cells = ", ".join(f"{value - general[key]:+.1f}" for key, value in found.items())
        lines.append(f"{_words(name)} {cells}")
    return "; ".join(lines)
