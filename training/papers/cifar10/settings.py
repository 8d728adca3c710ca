"""The settings that the search tries for each method: three losses, then a faster rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.papers.cifar10.fit import Budget

RATE, FASTER = 3e-3, 1e-2
EPOCHS, HIDDEN = 15, 128
"""Epochs and hidden units of the search: fewer than in the table, to be quick. DNNH deals out the
hidden units to its bits, so it keeps them all.
"""
_DROPOUT: tuple[dict[str, Any], ...] = ({"dropout": 0.1}, {"dropout": 0.3}, {"dropout": 0.5})
"""For losses without a setting."""
LOSSES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "cnnh": _DROPOUT,
    "dnnh": ({"margin": 1.0}, {"margin": 2.0}, {"margin": 4.0}),
    "dsrh": ({"margin": 2 / 32}, {"margin": 5 / 32}, {"margin": 10 / 32}),
    "dsch": ({"margin": 5 / 64}, {"margin": 0.4}, {"margin": 1.0}),
    "drsch": ({"margin": 5 / 64}, {"margin": 0.4}, {"margin": 1.0}),
    "bdnn": ({"quantization": 5.0}, {"quantization": 100.0}, {"quantization": 1000.0}),
    "dpsh": ({"eta": 10.0}, {"eta": 50.0}, {"eta": 500.0}),
    "dhn": ({"slope": None}, {"slope": 10.0}, {"slope": 10.0, "quantization": 0.02}),
    "hashnet": ({"slope": 5.0}, {"slope": 10.0}, {"slope": 20.0}),
    "greedyhash": ({"penalty": 0.01}, {"penalty": 0.1}, {"penalty": 1.0}),
    "orthohash": ({"scale": 4.0}, {"scale": 8.0}, {"scale": 8.0, "margin": 0.3}),
    "csq": ({"quantization": 0.0}, {"quantization": 0.05},
            {"quantization": 0.05, "pairwise": 0.2}),
    "dlbh": ({"switch": 0.5}, {"switch": 0.0}, {"switch": 0.0, "feature_rate": 1.0}),
    "ssdh": ({"weight": 0.5}, {"weight": 1.0}, {"weight": 4.0}),
    "paper": _DROPOUT,
}  # fmt: skip
"""Name of a system -> settings of its loss, or the share of dropped features.

The truncated DRSCH has those of DRSCH.
"""


def settings(name: str) -> list[Budget]:
    """Return the budgets that the search tries first for the system `name`."""
    found = []
    for loss in LOSSES[name]:
        options = {key: value for key, value in loss.items() if key != "dropout"}
        dropout = loss.get("dropout", Budget.dropout)
        hidden = Budget.hidden if name == "dnnh" else HIDDEN
        found.append(Budget(EPOCHS, rate=RATE, dropout=dropout, hidden=hidden, options=options))
    return found


def described(budget: Budget) -> str:
    """Return what `settings` varies, as "rate 0.003, margin 2"."""
    parts = {"rate": budget.rate, **budget.options}
    if budget.dropout != Budget.dropout:
        parts["dropout"] = budget.dropout
    return ", ".join(
        f"{key.replace('_', ' ')} {'none' if value is None else f'{value:.3g}'}"
        for key, value in parts.items()
    )
