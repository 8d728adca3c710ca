"""The other way to search: TVM's MetaSchedule breeds our choices instead of walking among them.

MetaSchedule's own rules know nothing of packed weights or of a depthwise convolution that is fused
through row tiles, so its space stays ours (compile/tuning/search_space.py). For it, a choice is one sampled
decision of a trace, noted at the only block of a module that stands for the workload; a mutation is
a step to a neighbour. What it brings are its population, its database of what was measured, and a
cost model of boosted trees that learns from every trial and picks what is tried next.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import tvm
import tvm.s_tir.meta_schedule as ms
from tvm import te
from tvm.ir.utils import derived_object
from tvm.s_tir.schedule import Trace

from compile.codegen.plan import ScheduleConfig, Workload
from compile.tuning.runner import Runner
from compile.tuning.search_space import decisions, rule_of_thumb, space

NOTE = "edge.choice"
BLOCK = "workload"
MOST = 2048
"""Choices at most, the most promising by the rule of thumb: a decision's chances are one list."""
BATCH = 8
"""Choices tried between two generations."""
POPULATION = 64
WARM = 16
"""Trials that the cost model has to have seen before it is asked."""


def bred(
    workload: Workload,
    runner: Runner,
    tried: dict[ScheduleConfig, float],
    known: list[ScheduleConfig],
) -> Iterator[ScheduleConfig]:
    """Choices to try for `workload`, see `compile.tuning.search.Strategy`."""
    choices = space(workload.shape, runner.target.vector)[:MOST]
    if len(choices) <= 2 * POPULATION:  # nothing to breed: the most promising first
        yield from choices
        return
    place = {knobs: index for index, knobs in enumerate(choices)}
    context = _context(workload, runner, choices)
    database, model = ms.database.MemoryDatabase(), _Model(workload, runner, choices)
    entry = database.commit_workload(context.mod)

    def learn(candidates: list[Any]) -> list[Any]:
        costs = [tried[choices[_index(candidate.sch.trace)]] for candidate in candidates]
        results = [ms.runner.RunnerResult([cost * 1e-6], None) for cost in costs]
        for candidate, cost in zip(candidates, costs, strict=True):
            seconds = [cost * 1e-6]
            database.commit_tuning_record(
                ms.database.TuningRecord(
                    candidate.sch.trace, entry, seconds, context.target, candidate.args_info
                )
            )
        model.update(context, candidates, results)
        return results

    first = [knobs for knobs in dict.fromkeys(known) if knobs in place]
    yield from first
    if first:
        learn([_candidate(context.mod, len(choices), place[knobs]) for knobs in first])
    context.pre_tuning(len(choices), BATCH, None, database, model)
    while candidates := context.generate_measure_candidates():
        for candidate in candidates:
            knobs = choices[_index(candidate.sch.trace)]
            if knobs not in tried:  # it forgets that what was known has been measured
                yield knobs
        context.notify_runner_results(candidates, learn(list(candidates)))
    context.post_tuning()


def _context(workload: Workload, runner: Runner, choices: list[ScheduleConfig]) -> ms.TuneContext:
    """The workload as MetaSchedule sees it."""
    return ms.TuneContext(
        _stand_in(workload),
        target=runner.llvm,
        space_generator=ms.space_generator.ScheduleFn(
            lambda schedule: _choose(schedule, len(choices)),
            sch_rules=[],
            postprocs=[],
            mutator_probs={_Step(workload.key, choices): 1.0},
        ),
        search_strategy=ms.search_strategy.EvolutionarySearch(
            population_size=POPULATION, init_min_unmeasured=BATCH, genetic_num_iters=3
        ),
        task_name=workload.key,
        rand_state=random.Random(workload.key).randrange(1, 1 << 30),
        num_threads=1,
    )


def _stand_in(workload: Workload) -> tvm.IRModule:
    size = te.placeholder((1,), "int32", "A")
    made = te.create_prim_func([size, te.compute((1,), lambda i: size[i], BLOCK)])
    return tvm.IRModule({"main": made.with_attr("global_symbol", workload.key)})


def _choose(schedule: Any, count: int, decision: int | None = None) -> None:
    chosen = schedule.sample_categorical(list(range(count)), [1 / count] * count, decision)
    schedule.annotate(schedule.get_sblock(BLOCK), NOTE, chosen)


def _candidate(module: tvm.IRModule, count: int, index: int) -> ms.MeasureCandidate:
    schedule = tvm.s_tir.Schedule(module)
    _choose(schedule, count, index)
    return ms.MeasureCandidate(schedule, ms.arg_info.ArgInfo.from_entry_func(module, False))


def _index(trace: Trace) -> int:
    return int(trace.get_decision(_sampled(trace)))


def _sampled(trace: Trace) -> Any:
    return next(step for step in trace.insts if step.kind.name == "SampleCategorical")


@derived_object
class _Step(ms.mutator.PyMutator):
    """To a choice that differs in one decision."""

    def __init__(self, seed: str, choices: list[ScheduleConfig]) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        columns = list(zip(*map(decisions, choices), strict=True))
        numbered = [{made: n for n, made in enumerate(dict.fromkeys(column))} for column in columns]
        # the same decisions have the same numbers: [choice, decision]
        self._decisions = np.array(
            [
                [numbers[made] for numbers, made in zip(numbered, decisions(knobs), strict=True)]
                for knobs in choices
            ]
        )

    def _initialize_with_tune_context(self, context: ms.TuneContext) -> None: ...

    def apply(self, trace: Trace, _: int) -> Trace | None:
        differ = (self._decisions != self._decisions[_index(trace)]).sum(axis=1)
        near = np.flatnonzero(differ == 1).tolist()
        if not near:
            return None
        return trace.with_decision(_sampled(trace), self._chance.choice(near), True)

    def clone(self) -> _Step:
        return self


@derived_object
class _Model(ms.cost_model.PyCostModel):
    """The rule of thumb until WARM trials are known, then boosted trees."""

    def __init__(self, workload: Workload, runner: Runner, choices: list[ScheduleConfig]) -> None:
        super().__init__()
        rows = [_features(workload, knobs, runner) for knobs in choices]

        @derived_object
        class Features(ms.feature_extractor.PyFeatureExtractor):
            def extract_from(self, _: Any, candidates: list[Any]) -> list[Any]:
                return [tvm.runtime.tensor(rows[_index(one.sch.trace)]) for one in candidates]

        self._rules = np.array([row[0, -1] for row in rows])
        self._trees = ms.cost_model.XGBModel(
            extractor=Features(), num_warmup_samples=0, num_tuning_cores=1, verbose_eval=0
        )
        self._known = 0

    def update(self, context: ms.TuneContext, candidates: list[Any], results: list[Any]) -> None:
        self._known += len(candidates)
        self._trees.update(context, candidates, results)

    def predict(self, context: ms.TuneContext, candidates: list[Any]) -> np.ndarray:
        """A score of each; more is better."""
        if self._known >= WARM:
            return np.asarray(self._trees.predict(context, candidates))
        rules = self._rules[[_index(one.sch.trace) for one in candidates]]
        return np.exp(self._rules.min() - rules).astype(np.float64)


def _features(workload: Workload, knobs: ScheduleConfig, runner: Runner) -> np.ndarray:
    numbers = []
    for decision in decisions(knobs):
        numbers += decision if isinstance(decision, tuple) else (decision,)
    rule = rule_of_thumb(workload.shape, knobs, runner.target.vector)
    return np.array([[*map(float, numbers), np.log(rule)]], np.float32)
