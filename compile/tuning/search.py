"""The search: find the cheapest schedule for every workload.

A strategy decides what to try next: `neighbors`, or TVM's MetaSchedule
(compile/tuning/metaschedule.py). `neighbors` starts with the winners of other workloads and with
the schedules that a rule of thumb ranks first (compile/tuning/search_space.py). Then it tries
schedules that differ from the best one so far in a single decision and, now and then, a random one,
so that it does not get stuck near its start. Seeds are fixed: the same costs lead to the same
result.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from statistics import median

from compile.codegen.workloads import ScheduleConfig, Workload
from compile.tuning.database import Record, Records
from compile.tuning.runner import Runner
from compile.tuning.search_space import distance, space

FIRST = 8
"""Schedules of the rule of thumb that are tried first."""
FINALISTS, FINAL_ROUNDS = 4, 3
RANDOM_SHARE = 0.2
"""Share of the later trials that are random."""

Strategy = Callable[
    [Workload, Runner, dict[ScheduleConfig, float], list[ScheduleConfig]], Iterator[ScheduleConfig]
]
"""(workload, runner, tried, known) -> schedules to try. The caller adds the cost of each schedule
to `tried` before it takes the next one. `known` are earlier winners, of this or other workloads."""

TrialCallback = Callable[[Workload, int, float], None]
"""Called after every trial with the workload, the trials so far, and the best cost so far."""


def search(
    workload: Workload,
    runner: Runner,
    records: Records,
    trials: int,
    on_trial: TrialCallback,
    strategy: Strategy | None = None,
) -> Record:
    """Try `trials` schedules for `workload`. `records` has the best one at any moment."""
    known = [record.config for record in records.best.values()]
    before = records.get(workload)
    if before is not None:
        known.insert(0, before.config)
    # Earlier winners are tried again first: their costs may come from another runner or day.
    best: Record | None = None
    tried: dict[ScheduleConfig, float] = {}
    candidates = (strategy or neighbors)(workload, runner, tried, known)
    for count, config in enumerate(candidates, 1):
        if count > trials:
            break
        tried[config] = runner.cost(workload.shape, config)
        if best is None or tried[config] < best.cost:
            best = Record(config, tried[config], runner.unit, before.trials if before else 0)
            records.put(workload, best)
        on_trial(workload, count, best.cost)
    assert best is not None, "every workload has a schedule"
    if runner.noisy:
        best = _final(workload, runner, tried, best)
    best = Record(best.config, best.cost, best.unit, best.trials + len(tried))
    records.put(workload, best)
    return best


def _final(
    workload: Workload, runner: Runner, tried: dict[ScheduleConfig, float], best: Record
) -> Record:
    """Measure the best few again, interleaved, since a single measurement may have been lucky."""
    few = sorted(tried, key=lambda config: tried[config])[:FINALISTS]
    costs: dict[ScheduleConfig, list[float]] = {
        config: [] for config in dict.fromkeys([best.config, *few])
    }
    for _ in range(FINAL_ROUNDS):
        for config, values in costs.items():
            values.append(runner.cost(workload.shape, config))
    winner = min(costs, key=lambda config: median(costs[config]))
    return Record(winner, median(costs[winner]), best.unit, best.trials)


def strategy_named(name: str) -> Strategy:
    """Return the strategy `name`: neighbors or metaschedule."""
    if name == "metaschedule":
        from compile.tuning.metaschedule import metaschedule  # takes a second to import

        return metaschedule
    return neighbors


def neighbors(
    workload: Workload,
    runner: Runner,
    tried: dict[ScheduleConfig, float],
    known: list[ScheduleConfig],
) -> Iterator[ScheduleConfig]:
    """Yield schedules near the best one so far. See `Strategy`."""
    choices = space(workload.shape, runner.target.vector)
    chance = random.Random(workload.key)
    possible = set(choices)
    elsewhere = [config for config in dict.fromkeys(known) if config in possible]
    yield from dict.fromkeys([*elsewhere, *_one_per_tile(choices)])
    while len(tried) < len(choices):
        best = min(tried, key=lambda config: tried[config])
        near = [k for k in choices if k not in tried and distance(k, best) == 1]
        rest = [k for k in choices[: len(choices) // 2 + 1] if k not in tried]
        if near and (chance.random() >= RANDOM_SHARE or not rest):
            yield chance.choice(near)
        elif rest:
            yield chance.choice(rest)
        else:
            return


def _one_per_tile(choices: list[ScheduleConfig]) -> list[ScheduleConfig]:
    """Return the first schedule of each of the best register tiles."""
    first: dict[object, ScheduleConfig] = {}
    for config in choices:
        names = ("mr", "nr", "fused", "strassen")
        tile = tuple(getattr(config, name, None) for name in names)
        first.setdefault(tile, config)
    return list(first.values())[:FIRST]
