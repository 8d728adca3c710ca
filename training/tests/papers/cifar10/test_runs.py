"""Features, runs and the command on a small generated set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from training.__main__ import main
from training.papers.cifar10 import features, runs, search
from training.papers.cifar10.features import Material, load_material
from training.papers.cifar10.fit import Budget, train
from training.papers.cifar10.images import open_images
from training.papers.cifar10.runs import Plan, judge_codes, planned, run_all
from training.papers.cifar10.settings import EPOCHS, LOSSES, RATE, described, settings
from training.papers.cifar10.split import Split, split_images
from training.papers.cifar10.systems import SYSTEMS
from training.papers.cifar10.table import table
from training.papers.files import FinishedRuns
from training.papers.published import CIFAR10
from training.papers.rows import RESULTS, read_table


@pytest.fixture
def material() -> Material:
    """Clusters of four classes instead of features of images."""
    rng = np.random.default_rng(1)
    centers = rng.normal(0, 1, (4, 1024))
    labels = np.tile(np.arange(4), 150)
    clean = (centers[labels] + rng.normal(0, 3, (600, 1024))).astype(np.float16)
    queries, training, validation = np.arange(100), np.arange(100, 400), np.arange(400, 500)
    split = Split(queries, training, np.arange(100, 600), validation)
    views = np.stack([clean[training], clean[training] + np.float16(0.01)])
    return Material(clean, views, labels, 4, split, "clusters", "generated")


def test_features_are_stored_in_blocks_and_read_again(
    official: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK", 40)
    images = open_images(official)
    split = split_images(images)
    first = load_material(images, split, weights, tmp_path / "out", 32, 1)
    assert first.features.shape == (90, 1024) and first.views.shape == (2, 6, 1024)
    np.testing.assert_array_equal(first.views[0], first.features[split.training])
    assert np.abs(first.views[1] - first.views[0]).max() > 0
    blocks = sorted((tmp_path / "out").glob("*/*.npy"))
    assert [block.name for block in blocks] == [
        "clean-00.npy", "clean-01.npy", "clean-02.npy", "view0-00.npy",
    ]  # fmt: skip
    blocks[1].write_bytes(blocks[1].read_bytes()[:100])  # damaged: computed again
    kept = blocks[0].stat().st_mtime_ns
    again = load_material(images, split, weights, tmp_path / "out", 32, 1)
    np.testing.assert_array_equal(first.features, again.features)
    assert blocks[0].stat().st_mtime_ns == kept
    other = load_material(images, split, weights, tmp_path / "out", 48, 0)
    assert other.stamp != first.stamp


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_learns_clusters(name: str, material: Material) -> None:
    system = SYSTEMS[name]
    budget = Budget(**{**vars(system.budget), "epochs": 10, "batch": 50})
    bits, judged = system.trainings((12,))[0]
    trained = system.fit(material, (bits,), 1, budget)
    assert judge_codes(trained, material, judged)[12] > 0.8


def test_a_run_depends_on_its_seed_only(material: Material) -> None:
    method = SYSTEMS["hashnet"]
    one, again, other = (
        method.fit(material, (8, 12), seed, Budget(epochs=2, batch=50)).codes for seed in (1, 1, 2)
    )
    assert one[8].shape == (600, 8) and one[12].shape == (600, 12)
    for bits in (8, 12):
        np.testing.assert_array_equal(one[bits], again[bits])
        assert (one[bits] != other[bits]).any()


def test_an_unknown_setting_of_a_method_is_refused(material: Material) -> None:
    from training.methods import SUPERVISED

    with pytest.raises(AttributeError, match="DPSH has no setting etha"):
        train(SUPERVISED["dpsh"], material, (8,), 1, Budget(epochs=1, options={"etha": 1.0}))


def test_shorter_codes_keep_the_bits_with_the_largest_weights(material: Material) -> None:
    trained = SYSTEMS["drsch-truncated"].fit(material, (64,), 1, Budget(epochs=5, batch=50))
    weights = trained.weights[64]
    assert weights is not None and weights.shape == (64,)
    found = judge_codes(trained, material, (8, 64))
    assert all(0.5 < found[bits] <= 1 + 1e-9 for bits in (8, 64))


def test_finished_runs_are_skipped(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan({"dpsh": SYSTEMS["dpsh"], "dhn": SYSTEMS["dhn"]}, (8, 12), (1, 2), epochs=1)
    judged = []

    def judge(run: runs.Run, *_: object) -> dict[str, object]:
        judged.append((run.name, run.bits, run.seed))
        if len(judged) == 3:
            raise KeyboardInterrupt
        return {"map": dict.fromkeys(map(str, run.judged), 50.0 + run.seed), "seconds": 2.0}

    monkeypatch.setattr(runs, "judge", judge)
    with pytest.raises(KeyboardInterrupt):
        run_all(plan, material, FinishedRuns(tmp_path / "runs.jsonl"))
    run_all(plan, material, FinishedRuns(tmp_path / "runs.jsonl"))
    assert len(judged) == 5 and len(set(judged)) == 4
    run_all(plan, material, FinishedRuns(tmp_path / "runs.jsonl"))
    assert len(judged) == 5
    longer = Plan(plan.systems, plan.lengths, plan.seeds, epochs=2)
    assert not {json.dumps(run.key) for run in planned(plan, material)} & {
        json.dumps(run.key) for run in planned(longer, material)
    }
    rows = table(plan, material, FinishedRuns(tmp_path / "runs.jsonl"), "command").rows
    assert [(row.system, row.setting, list(row.values)) for row in rows[:2]] == [
        ("DPSH", "8 bits", [51.0, 52.0]), ("DPSH", "12 bits", [51.0, 52.0]),
    ]  # fmt: skip
    assert rows[1].published == 71.3 and "2 of 3 seeds" in rows[1].one_seed_reason


def test_a_row_without_runs_says_so(material: Material, tmp_path: Path) -> None:
    plan = Plan({"dpsh": SYSTEMS["dpsh"]}, (12,), (1,))
    row = table(plan, material, FinishedRuns(tmp_path / "runs.jsonl"), "command").rows[0]
    assert row.missing.startswith("not run yet") and not row.values


def test_every_method_has_as_many_settings() -> None:
    assert set(LOSSES) == set(SYSTEMS) - {"drsch-truncated"}
    for name in LOSSES:
        tried = settings(name)
        assert len({described(budget) for budget in tried}) == 3
        short: dict[str, Any] = {"epochs": EPOCHS, "hidden": tried[0].hidden}
        assert replace(SYSTEMS[name].budget, rate=RATE, **short) in tried


def test_the_settings_in_use_are_the_best_of_the_search() -> None:
    """Rows of the committed search."""
    rows = read_table(RESULTS / "cifar10_search.json").rows
    assert SYSTEMS["drsch-truncated"].budget == SYSTEMS["drsch"].budget
    for system in (SYSTEMS[name] for name in LOSSES):
        tried = {row.setting: row.values[0] for row in rows if row.system == system.title}
        assert len(tried) == 4
        best = max(tried, key=lambda setting: tried[setting])
        assert best == f"32 bits, {described(system.budget)}", system.title


def test_the_search_never_ranks_the_queries(material: Material) -> None:
    few = search.sampled(material)
    assert len(few.split.queries) == 100 and len(few.split.training) == 300
    places = [
        np.flatnonzero((material.features == row).all(1))
        for row in few.features[np.concatenate([few.split.queries, few.split.database])]
    ]
    assert not set(np.concatenate(places)) & set(material.split.queries)
    assert not set(few.split.queries) & set(few.split.database)
    np.testing.assert_array_equal(
        few.labels[few.split.training], material.labels[material.split.training]
    )


def test_the_search_writes_every_setting(tree: Path, weights: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [
        "papers", "cifar10-search", "--data", str(tree), "--weights", str(weights), "--tiny",
        "--methods", "dlbh", "--out", str(tmp_path),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = read_table(tmp_path / "cifar10_search.json").rows
    assert len(rows) == 4 and {row.system for row in rows} == {"DLBH"}
    assert rows[0].setting == "32 bits, rate 0.003, switch 0.5"
    best = max(row.values[0] for row in rows)
    assert all((row.values[0] == best) == (row.extra["chosen"] == "yes") for row in rows)


def test_every_system_has_a_source() -> None:
    assert {system.title for system in SYSTEMS.values()} <= set(CIFAR10)


def test_the_tiny_command_writes_a_table(tree: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["papers", "cifar10", "--data", str(tree), "--weights", str(weights), "--tiny",
                 "--methods", "dpsh,drsch-truncated", "--out", str(out)]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    rows = read_table(out / "cifar10.json").rows
    assert [row.system for row in rows] == ["DPSH", "DRSCH, truncated"]
    assert all(0 < row.values[0] <= 100 for row in rows)
    lines = (out / "runs.jsonl").read_text()
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0 and (out / "runs.jsonl").read_text() == lines


def test_an_unknown_method_is_named(tree: Path, weights: Path) -> None:
    done = CliRunner().invoke(main, ["papers", "cifar10", "--data", str(tree), "--weights",
                                     str(weights), "--methods", "dpsh,none"])  # fmt: skip
    assert done.exit_code == 3 and 'unknown method "none"' in done.output
