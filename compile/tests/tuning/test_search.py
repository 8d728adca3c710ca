"""Both search strategies, on a runner that computes costs from a formula."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from compile.codegen.workloads import ScheduleConfig, workloads
from compile.frontend.onnx_importer import read_network
from compile.target.description import Target
from compile.tuning.database import Record, Records
from compile.tuning.runner import Runner
from compile.tuning.search import search, strategy_named
from compile.tuning.search_space import distance, space
from edge_runtime.errors import StorageError


class Steps(Runner):
    """Computes costs without running anything. It can stop after some calls."""

    name, unit = "steps", "steps"

    def __init__(self, target: Target, stop_after: int = 10**9) -> None:
        super().__init__(target)
        self.left = stop_after

    def cost(self, shape: object, config: ScheduleConfig) -> float:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return float(1000 - getattr(config, "mr", 0) * config.nr + getattr(config, "unroll", 0))


@pytest.mark.parametrize("name", ["neighbors", "metaschedule"])
def test_the_search_improves_and_saves_its_results(
    name: str, small_model: Path, host: Target, tmp_path: Path
) -> None:
    strategy = strategy_named(name)
    work = workloads(read_network(small_model))[3]
    records = Records(tmp_path / "r.json")
    with pytest.raises(KeyboardInterrupt):
        search(work, Steps(host, stop_after=12), records, 200, lambda *_: None, strategy)
    saved = Records(tmp_path / "r.json").get(work)
    assert saved is not None
    best = search(work, Steps(host), records, 200, lambda *_: None, strategy)
    assert best.cost <= saved.cost
    choices = space(work.shape, host.vector)
    optimum = min(Steps(host).cost(work.shape, config) for config in choices)
    assert best.cost <= optimum + 16, "close to the best of all choices"
    assert Records(tmp_path / "r.json").get(work) == Record(
        best.config, best.cost, "steps", best.trials
    )


def test_a_full_disk_during_the_search(
    small_model: Path, host: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = workloads(read_network(small_model))
    records = Records(tmp_path / "r.json")
    search(works[2], Steps(host), records, 5, lambda *_: None)
    before = (tmp_path / "r.json").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="the disk is full"):
        search(works[3], Steps(host), records, 5, lambda *_: None)
    assert (tmp_path / "r.json").read_bytes() == before
    assert Records(tmp_path / "r.json").best


def test_metaschedule_is_deterministic_and_repeats_nothing(small_model: Path, host: Target) -> None:
    runner = Steps(host)
    work = max(workloads(read_network(small_model)), key=lambda w: len(space(w.shape, host.vector)))
    choices = space(work.shape, host.vector)
    orders = []
    for _ in range(2):
        tried: dict[ScheduleConfig, float] = {}
        for config in itertools.islice(
            strategy_named("metaschedule")(work, runner, tried, choices[7:9]), 40
        ):
            assert config not in tried
            tried[config] = runner.cost(work.shape, config)
        orders.append(list(tried))
    assert orders[0] == orders[1] and len(orders[0]) == 40
    assert orders[0][:2] == choices[7:9], "known schedules come first"
    assert set(orders[0]) <= set(choices)


def test_choices_that_differ_in_one_decision_are_neighbors(small_model: Path, host: Target) -> None:
    choices = space(workloads(read_network(small_model))[3].shape, host.vector)
    assert distance(choices[0], choices[0]) == 0
    assert any(distance(choices[0], other) == 1 for other in choices[1:])
