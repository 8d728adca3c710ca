"""The search: for every workload, the knobs that cost least.

What is tried next, a strategy says: ours, `neighbours`, or MetaSchedule's (compile/tuning/metaschedule.py). Ours
begins with what won for other workloads, and with the choices that a rule of thumb likes best
(compile/tuning/search_space.py), then tries those that differ from the best one so far in a single decision, and
now and then one at random, so that it does not stay where it happened to begin. Seeds are fixed:
the same costs lead to the same answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from statistics import median

from compile.codegen.plan import ScheduleConfig, Workload
from compile.tuning.database import Record, Records
from compile.tuning.runner import Runner
from compile.tuning.search_space import distance, space

FIRST = 8
"""Choices of the rule of thumb that are tried first."""
FINALISTS, HEATS = 4, 3
STRAY = 0.2
"""Share of the later trials that is random."""

Strategy = Callable[
    [Workload, Runner, dict[ScheduleConfig, float], list[ScheduleConfig]], Iterator[ScheduleConfig]
]
"""Yields what to try for a workload on a runner, knowing what each choice that it yielded has cost,
and what won before or elsewhere."""

Told = Callable[[Workload, int, float], None]
"""Hears of every trial: workload, trials so far, best cost so far."""


def search(
    workload: Workload,
    runner: Runner,
    records: Records,
    trials: int,
    told: Told,
    strategy: Strategy | None = None,
) -> Record:
    """Try `trials` choices for `workload`; the best one is in `records` at any moment."""
    known = [record.knobs for record in records.best.values()]
    before = records.get(workload)
    if before is not None:
        known.insert(0, before.knobs)
    # What was found before is tried again first: its cost may be of another runner or day.
    best: Record | None = None
    tried: dict[ScheduleConfig, float] = {}
    candidates = (strategy or neighbours)(workload, runner, tried, known)
    for count, knobs in enumerate(candidates, 1):
        if count > trials:
            break
        tried[knobs] = runner.cost(workload.shape, knobs)
        if best is None or tried[knobs] < best.cost:
            best = Record(knobs, tried[knobs], runner.unit, before.trials if before else 0)
            records.put(workload, best)
        told(workload, count, best.cost)
    assert best is not None, "every workload has a choice"
    if runner.noisy:
        best = _final(workload, runner, tried, best)
    best = Record(best.knobs, best.cost, best.unit, best.trials + len(tried))
    records.put(workload, best)
    return best


def _final(
    workload: Workload, runner: Runner, tried: dict[ScheduleConfig, float], best: Record
) -> Record:
    """The best few again, in turn, since one measurement may have been lucky."""
    few = sorted(tried, key=lambda knobs: tried[knobs])[:FINALISTS]
    costs = {knobs: [] for knobs in dict.fromkeys([best.knobs, *few])}
    for _ in range(HEATS):
        for knobs, values in costs.items():
            values.append(runner.cost(workload.shape, knobs))
    winner = min(costs, key=lambda knobs: median(costs[knobs]))
    return Record(winner, median(costs[winner]), best.unit, best.trials)


def strategy_of(name: str) -> Strategy:
    """That called `name`: neighbours or metaschedule."""
    if name == "metaschedule":
        from compile.tuning.metaschedule import bred  # it takes a second to load

        return bred
    return neighbours


def neighbours(
    workload: Workload,
    runner: Runner,
    tried: dict[ScheduleConfig, float],
    known: list[ScheduleConfig],
) -> Iterator[ScheduleConfig]:
    """See `Strategy`."""
    choices = space(workload.shape, runner.target.vector)
    chance = random.Random(workload.key)
    possible = set(choices)
    elsewhere = [knobs for knobs in dict.fromkeys(known) if knobs in possible]
    yield from dict.fromkeys([*elsewhere, *_spread(choices)])
    while len(tried) < len(choices):
        best = min(tried, key=lambda knobs: tried[knobs])
        near = [k for k in choices if k not in tried and distance(k, best) == 1]
        rest = [k for k in choices[: len(choices) // 2 + 1] if k not in tried]
        if near and (chance.random() >= STRAY or not rest):
            yield chance.choice(near)
        elif rest:
            yield chance.choice(rest)
        else:
            return


def _spread(choices: list[ScheduleConfig]) -> list[ScheduleConfig]:
    """The first choice of each of the best register tiles."""
    first: dict[object, ScheduleConfig] = {}
    for knobs in choices:
        names = ("mr", "nr", "fused", "strassen")
        tile = tuple(getattr(knobs, name, None) for name in names)
        first.setdefault(tile, knobs)
    return list(first.values())[:FIRST]
