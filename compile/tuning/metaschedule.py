"""The other search strategy: TVM's MetaSchedule evolves a population of schedules.

MetaSchedule's own rules cannot pack weights or fuse a depthwise convolution through row tiles, so
the space is that of compile/tuning/search_space.py. For MetaSchedule, a schedule is one sampled
decision of a trace, annotated at the only block of a placeholder module; a mutation is a step to a
neighbor. MetaSchedule contributes the population, a database of measurements, and a cost model of
boosted trees that learns from every trial and selects the next ones.
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

from compile.codegen.workloads import ScheduleConfig, Workload
from compile.tuning.runner import Runner
from compile.tuning.search_space import decisions, rule_of_thumb, space

ANNOTATION = "edge.choice"
BLOCK = "workload"
MAX_CHOICES = 2048
"""Size of the space. MetaSchedule takes the probabilities of a decision as one list."""
BATCH = 8
"""Trials between two generations."""
POPULATION = 64
WARM_UP = 16
"""Trials before the cost model is used."""


def metaschedule(
    workload: Workload,
    runner: Runner,
    tried: dict[ScheduleConfig, float],
    known: list[ScheduleConfig],
) -> Iterator[ScheduleConfig]:
    """Yield schedules to try for `workload`. See `compile.tuning.search.Strategy`."""
    choices = space(workload.shape, runner.target.vector)[:MAX_CHOICES]
    if len(choices) <= 2 * POPULATION:  # too few for a population: the most promising first
        yield from choices
        return
    place = {config: index for index, config in enumerate(choices)}
    context = _context(workload, runner, choices)
    database, model = ms.database.MemoryDatabase(), _CostModel(workload, runner, choices)
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

    first = [config for config in dict.fromkeys(known) if config in place]
    yield from first
    if first:
        learn([_candidate(context.mod, len(choices), place[config]) for config in first])
    context.pre_tuning(len(choices), BATCH, None, database, model)
    while candidates := context.generate_measure_candidates():
        for candidate in candidates:
            config = choices[_index(candidate.sch.trace)]
            if config not in tried:  # MetaSchedule repeats schedules that were known before
                yield config
        context.notify_runner_results(candidates, learn(list(candidates)))
    context.post_tuning()


def _context(workload: Workload, runner: Runner, choices: list[ScheduleConfig]) -> ms.TuneContext:
    """Describe the workload to MetaSchedule."""
    return ms.TuneContext(
        _placeholder(workload),
        target=runner.llvm,
        space_generator=ms.space_generator.ScheduleFn(
            lambda schedule: _choose(schedule, len(choices)),
            sch_rules=[],
            postprocs=[],
            mutator_probs={_Mutator(workload.key, choices): 1.0},
        ),
        search_strategy=ms.search_strategy.EvolutionarySearch(
            population_size=POPULATION, init_min_unmeasured=BATCH, genetic_num_iters=3
        ),
        task_name=workload.key,
        rand_state=random.Random(workload.key).randrange(1, 1 << 30),
        num_threads=1,
    )


def _placeholder(workload: Workload) -> tvm.IRModule:
    size = te.placeholder((1,), "int32", "A")
    function = te.create_prim_func([size, te.compute((1,), lambda i: size[i], BLOCK)])
    return tvm.IRModule({"main": function.with_attr("global_symbol", workload.key)})


def _choose(schedule: Any, count: int, decision: int | None = None) -> None:
    chosen = schedule.sample_categorical(list(range(count)), [1 / count] * count, decision)
    schedule.annotate(schedule.get_sblock(BLOCK), ANNOTATION, chosen)


def _candidate(module: tvm.IRModule, count: int, index: int) -> ms.MeasureCandidate:
    schedule = tvm.s_tir.Schedule(module)
    _choose(schedule, count, index)
    return ms.MeasureCandidate(schedule, ms.arg_info.ArgInfo.from_entry_func(module, False))


def _index(trace: Trace) -> int:
    return int(trace.get_decision(_sampled(trace)))


def _sampled(trace: Trace) -> Any:
    return next(step for step in trace.insts if step.kind.name == "SampleCategorical")


@derived_object
class _Mutator(ms.mutator.PyMutator):  # type: ignore[misc]
    """Moves to a schedule that differs in one decision."""

    def __init__(self, seed: str, choices: list[ScheduleConfig]) -> None:
        super().__init__()
        self._chance = random.Random(seed)
        columns = list(zip(*map(decisions, choices), strict=True))
        numbered = [
            {value: n for n, value in enumerate(dict.fromkeys(column))} for column in columns
        ]
        # [choice, decision]: equal decisions have equal numbers
        self._decisions = np.array(
            [
                [codes[value] for codes, value in zip(numbered, decisions(config), strict=True)]
                for config in choices
            ]
        )

    def _initialize_with_tune_context(self, context: ms.TuneContext) -> None: ...

    def apply(self, trace: Trace, _: int) -> Trace | None:
        differ = (self._decisions != self._decisions[_index(trace)]).sum(axis=1)
        near = np.flatnonzero(differ == 1).tolist()
        if not near:
            return None
        return trace.with_decision(_sampled(trace), self._chance.choice(near), True)

    def clone(self) -> _Mutator:
        return self


@derived_object
class _CostModel(ms.cost_model.PyCostModel):  # type: ignore[misc]
    """Predicts by the rule of thumb for the first WARM_UP trials, then by boosted trees."""

    def __init__(self, workload: Workload, runner: Runner, choices: list[ScheduleConfig]) -> None:
        super().__init__()
        rows = [_features(workload, config, runner) for config in choices]

        @derived_object
        class Features(ms.feature_extractor.PyFeatureExtractor):  # type: ignore[misc]
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
        """Return a score for each candidate. Higher is better."""
        if self._known >= WARM_UP:
            return np.asarray(self._trees.predict(context, candidates))
        rules = self._rules[[_index(one.sch.trace) for one in candidates]]
        return np.asarray(np.exp(self._rules.min() - rules), np.float64)


def _features(workload: Workload, config: ScheduleConfig, runner: Runner) -> np.ndarray:
    numbers: list[Any] = []
    for decision in decisions(config):
        numbers += decision if isinstance(decision, tuple) else (decision,)
    rule = rule_of_thumb(workload.shape, config, runner.target.vector)
    return np.array([[*map(float, numbers), np.log(rule)]], np.float32)
