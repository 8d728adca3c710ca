"""Generate the section of docs/results/ACCURACY.md on codes fitted to labels that were trained."""

from __future__ import annotations

from statistics import mean
from typing import Any

from training.reports.tables import markdown, number

TARGETS = {"mobilenet_v1_hash64": {"grocery": {"64": 86.5, "128": 89.0}}}
"""Minimum MAP@100 by model, set and bits."""
_USED = "1"
"""The random start of the fit that the runtime uses."""


def seen_section(result: Any) -> list[str]:
    """Write the section; `result` comes from `python -m training seen`."""
    rows: list[list[object]] = []
    lengths: list[str] = []
    for name, row in result["models"].items():
        for source, found in row["sets"].items():
            lengths = sorted(found["fitted"], key=int)
            cells = [_spread(found["fitted"][bits]) for bits in lengths]
            prior = "yes" if row["prior"] else "no"
            rows.append([source, f"`{name}`", prior, number(found["float"]), *cells])
    head = ["set", "model", "prior", "float features, cosine"]
    return [
        "## Codes fitted to labels that training saw",
        "The official database of each set is enrolled, whole and without further views, with its"
        " features as int8, and `edge_runtime.fitting.fit` fits the code to it, as `edge-runtime"
        " gallery refit` does. MAP@100 of the official queries, by Hamming distance. The fit starts"
        " from a random rotation: the figure is that of the start that the runtime uses, with the"
        " lowest and the highest of several in brackets.",
        markdown([*head, *(f"fitted, {bits} bits" for bits in lengths)], rows),
        _verdicts(result["models"]),
    ]


def _spread(by_seed: dict[str, float]) -> str:
    values = by_seed.values()
    return f"{number(by_seed[_USED])} ({number(min(values))} to {number(max(values))})"


def _verdicts(models: Any) -> str:
    """State for every target whether the runtime's start and the mean of all starts reach it."""
    lines = []
    for name, sets in TARGETS.items():
        for source, targets in sets.items():
            for bits, least in targets.items():
                by_seed = models[name]["sets"][source]["fitted"][bits]
                used, average = by_seed[_USED], mean(by_seed.values())
                verdict = "reached" if used >= least else "missed"
                side = ", below" if average < least <= used else ""
                lines.append(
                    f"- `{name}`, {source}, {bits} bits, at least {least:.1f}: **{verdict}**"
                    f" ({number(used)}; mean of {len(by_seed)} starts {number(average)}{side})."
                )
    return "\n".join(lines)
