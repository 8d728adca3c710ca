"""The search for settings: as many of each method, judged on validation images only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.papers.cifar10.features import Material
from training.papers.cifar10.fit import Budget
from training.papers.cifar10.runs import Plan, planned
from training.papers.cifar10.settings import EPOCHS, FASTER, HIDDEN, LOSSES, described, settings
from training.papers.cifar10.split import Split
from training.papers.cifar10.systems import SYSTEMS, System
from training.papers.files import FinishedRuns
from training.papers.published import CIFAR10
from training.papers.rows import Row, Table

BITS = 32
EVERY = 6
"""One in so many database images is ranked: the search compares settings only."""


def plan(names: Sequence[str], bits: int = BITS, epochs: int | None = None) -> Plan:
    """Return one run of each loss of each system of `names`; truncated ones have none."""
    tried = {}
    for name in (each for each in names if each in LOSSES):
        for budget in settings(name):
            tried[f"{name}: {described(budget)}"] = replace(SYSTEMS[name], budget=budget)
    return Plan(tried, (bits,), (1,), epochs=epochs)


def faster(tried: Plan, material: Material, finished: FinishedRuns) -> Plan:
    """Return `tried` and, for each system, its best run at a faster rate."""
    best: dict[str, tuple[float, System]] = {}
    for run in planned(tried, material):
        value = finished.find(run.key)["map"][str(run.bits)]
        name = run.name.partition(":")[0]
        if value > best.get(name, (0.0,))[0]:
            best[name] = (value, tried.systems[run.name])
    more = dict(tried.systems)
    for name, (_, system) in best.items():
        budget = replace(system.budget, rate=FASTER)
        more[f"{name}: {described(budget)}"] = replace(system, budget=budget)
    return replace(tried, systems=more)


def sampled(material: Material) -> Material:
    """Return `material` with the validation images as queries and a part of the database."""
    split = material.split
    database = np.setdiff1d(split.database, split.validation)[::EVERY]
    kept = np.unique(np.concatenate([database, split.validation, split.training]))
    queries, training, database = (
        np.searchsorted(kept, each) for each in (split.validation, split.training, database)
    )
    few = Split(queries, training, database, queries[:0])
    return replace(
        material, features=material.features[kept], labels=material.labels[kept], split=few,
        stamp=f"{material.stamp} validation {EVERY}",
    )  # fmt: skip


def table(tried: Plan, material: Material, finished: FinishedRuns, command: str) -> Table:
    """Return the table of what is finished of `tried` on `material`, as `sampled` made it."""
    found: dict[str, dict[str, float]] = {}
    bits = tried.lengths[0]
    for run in planned(tried, material):
        result = finished.find(run.key)
        if result is not None:
            own = found.setdefault(run.system.title, {})
            own[described(run.system.budget)] = round(result["map"][str(bits)], 2)
    rows = [
        Row(
            system=title,
            source=CIFAR10[title].source,
            setting=f"{bits} bits, {setting}",
            measure="MAP of validation images (%)",
            values=[value],
            one_seed_reason="one seed each",
            extra={"chosen": "yes" if value == max(own.values()) else "no"},
        )
        for title, own in found.items()
        for setting, value in own.items()
    ]
    split = material.split
    data = (
        f"CIFAR-10 ({material.kind}): {len(split.queries):,} validation images, which are not"
        f" queries of the table, {len(split.training):,} training images, and"
        f" {len(split.database):,} images to rank."
    )
    notes = [
        "The same number of settings for each method: three of its loss (three shares of dropped"
        " features where the loss has none), then the best of them at a faster rate. The best one"
        " is used at all lengths, and that of DRSCH also where its codes are truncated.",
        f"Trained shorter than in the table, for {EPOCHS} epochs, with a layer of {HIDDEN} units"
        f" below the codes ({Budget.hidden} for DNNH, which deals them out to the bits).",
    ]
    return Table(command, data, rows, notes)
