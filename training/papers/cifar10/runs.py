"""Train and judge the systems one by one; finished runs are kept and not repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.papers.cifar10.features import Material
from training.papers.cifar10.fit import Trained
from training.papers.cifar10.images import Ints
from training.papers.cifar10.ranking import mean_ap
from training.papers.cifar10.systems import System
from training.papers.files import FinishedRuns, Key

VERSION = 2
"""Raise it when a change makes the results of earlier runs wrong."""


@dataclass(frozen=True)
class Plan:
    """Which runs there are."""

    systems: Mapping[str, System]
    lengths: Sequence[int]
    seeds: Sequence[int]
    validation: bool = False
    """Judge on the validation images instead of the queries."""
    epochs: int | None = None
    """Epochs of every system instead of those of its budget."""


@dataclass(frozen=True)
class Run:
    """One model to train, with `bits` at most, and the lengths that it is judged at."""

    name: str
    system: System
    bits: int
    judged: tuple[int, ...]
    seed: int
    key: Key


def planned(plan: Plan, material: Material) -> Iterator[Run]:
    """List the runs of `plan`: all systems with one seed before the next seed."""
    for seed in plan.seeds:
        for name, system in plan.systems.items():
            budget = system.budget
            if plan.epochs is not None:
                budget = replace(budget, epochs=plan.epochs)
            chosen = replace(system, budget=budget)
            for bits, judged in chosen.trainings(plan.lengths):
                key = {
                    "method": name, "bits": bits, "judged": list(judged), "seed": seed,
                    "budget": asdict(budget), "material": material.stamp,
                    "views": len(material.views), "validation": plan.validation,
                    "version": VERSION,
                }  # fmt: skip
                yield Run(name, chosen, bits, judged, seed, key)


def run_all(plan: Plan, material: Material, finished: FinishedRuns) -> None:
    """Train and judge every run of `plan` that is not in `finished`, and add it there."""
    runs = list(planned(plan, material))
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("runs", total=len(runs))
        for run in runs:
            progress.update(task, description=f"{run.name}, {run.bits} bits, seed {run.seed}")
            if finished.find(run.key) is None:
                finished.add(run.key, judge(run, material, plan.validation))
            progress.advance(task)


def judge(run: Run, material: Material, validation: bool) -> dict[str, Any]:
    """Train one model; return its MAP in percent by length and the CPU seconds of both."""
    begun = time.process_time()
    lengths = (run.bits,) if run.system.truncated else run.judged
    trained = run.system.fit(material, lengths, run.seed, run.system.budget)
    seconds = time.process_time() - begun
    values = judge_codes(trained, material, run.judged, validation)
    found = {str(bits): 100 * value for bits, value in values.items()}
    return {"map": found, "train_seconds": seconds, "seconds": time.process_time() - begun}


def judge_codes(
    trained: Trained, material: Material, lengths: Sequence[int], validation: bool = False
) -> dict[int, float]:
    """Return the MAP, 0 to 1, of the queries at each length; shorter codes by their weights."""
    queries, database = sides(material, validation)
    found = {}
    for bits in lengths:
        whole = bits if bits in trained.codes else max(trained.codes)
        codes, weights = trained.codes[whole], trained.weights[whole]
        kept = np.arange(whole)
        if bits < len(kept) and weights is not None:
            kept = np.argsort(-weights, kind="stable")[:bits]
        asked, searched = (
            (codes[rows][:, kept], material.labels[rows]) for rows in (queries, database)
        )
        found[bits] = mean_ap(asked, searched, None if weights is None else weights[kept])
    return found


def sides(material: Material, validation: bool) -> tuple[Ints, Ints]:
    """Return the positions of the queries and of the database."""
    split = material.split
    if validation:
        return split.validation, np.setdiff1d(split.database, split.validation)
    return split.queries, split.database
