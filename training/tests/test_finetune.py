"""`python -m training finetune`: what it needs, what it writes, and what it refuses to keep."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.fitting.fit import fit_layer
from edge_runtime.model import ModelInfo, find_prior
from training.commands import finetune
from training.hash_layer.comparison import NEW, SHIPPED, Answers, Queries, compare
from training.hash_layer.feature_model import read_head, replace_head
from training.hash_layer.layer_engine import LayerEngine
from training.hash_layer.refit import without_scaling
from training.tests.conftest import ROOT, draw_photos

MODEL = ROOT / "models" / "mobilenet_v1_general.onnx"
OWN = Path("own/mobilenet_v1_hash64.onnx")
WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = None; from training.__main__ import main; main()"
)


@pytest.fixture
def poor(tmp_path: Path) -> Path:
    """A copy of the shipped network whose layer gives every photo the same code."""
    model, info = onnx.load(MODEL), PortableEngine(MODEL).model
    weight, bias = read_head(model)
    path = tmp_path / "poor.onnx"
    onnx.save(replace_head(model, (np.zeros_like(weight), np.ones_like(bias)), info), path)
    path.with_suffix(".prior.npz").write_bytes(MODEL.with_suffix(".prior.npz").read_bytes())
    return path


def run_without_torch(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "finetune", *options],
        env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_better_model_needs_no_torch(poor: Path) -> None:
    draw_photos(Path("set"), labels=12, each=5)
    done = run_without_torch("--data", "set", "--model", str(poor), "--out", "own")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["kept"] == NEW and report["method"] == "refit"
    assert report["new_map100"] > report["shipped_map100"]
    assert (report["strangers"], report["stranger_labels"]) == (60, 12)
    stored = Path(report["split_file"]).read_bytes()
    assert hashlib.sha256(stored).hexdigest() == report["split_sha256"]
    parts = [line.split(",")[1] for line in stored.decode().splitlines()[1:]]
    assert parts.count("query") == report["queries"] == 12
    # The radius is measured on strangers, and none of them is within it.
    assert report["radius_of"].startswith("60 photos of 12 labels")
    assert report["new_strangers_within_radius"] <= 2
    for path in (OWN, Path(report["int8"])):
        info = PortableEngine(path).model
        assert (info.radius, info.features) == (report["radius"], 1024)
        prior = find_prior(path)
        assert prior is not None and prior.parent == Path("own")
    last = done.stderr.splitlines()[-1]
    for name in ("map100", "strangers_named", "right"):
        assert str(report[f"shipped_{name}"]) in last and str(report[f"new_{name}"]) in last


def test_a_trained_method_names_torch_in_one_line() -> None:
    done = run_without_torch("--data", "set", "--method", "paper")
    assert done.returncode == 11 and done.stderr.count("\n") == 1
    assert "paper needs torch" in done.stderr and "make setup-train" in done.stderr


@pytest.mark.parametrize(
    ("labels", "each", "reason"),
    [(4, 5, "labels with three readable photos or more: 4, needed 5"),
     (6, 2, "labels with three readable photos or more: 0, needed 5"),
     (6, 3, "photos that can be held out to judge: 6, needed 10")],
)  # fmt: skip
def test_too_few_photos_are_refused(labels: int, each: int, reason: str) -> None:
    draw_photos(Path("set"), labels=labels, each=each)
    done = CliRunner().invoke(finetune.main, ["--data", "set", "--out", "own"])
    assert done.exit_code == 3 and reason in done.output
    assert "edge-runtime gallery refit" in done.output and not Path("own").exists()


def queries(named: int, *, right: bool = False, distance: int = 20) -> Queries:
    """Five photos of each of 20 labels; the first `named` labels are answered wrongly."""
    labels = [f"label{row // 5}" for row in range(100)]
    answers: list[str | None] = ["other" if row < 5 * named else None for row in range(100)]
    if right:
        answers = [label if row >= 5 * named else None for row, label in enumerate(labels)]
    return Queries(labels, answers, [distance] * 100)


@pytest.mark.parametrize(
    ("strangers", "known", "radius", "objections"),
    [(queries(0), queries(0, right=True), 13, []),
     (queries(1), queries(1, right=True), 13, []),  # within the sampling error
     (queries(20), queries(0, right=True), 13, ["strangers are named", "more strangers"]),
     (queries(0), queries(8, right=True), 13, ["fewer held-out photos"]),
     (queries(0), queries(0, right=True), 20, ["within the radius"])],
)  # fmt: skip
def test_strangers_that_are_named_speak_against_a_model(
    strangers: Queries, known: Queries, radius: int, objections: list[str]
) -> None:
    found = {SHIPPED: Answers(queries(0), queries(0, right=True)), NEW: Answers(strangers, known)}
    given = compare(found, {SHIPPED: 13, NEW: radius}, 1).objections
    assert len(given) == len(objections)
    assert all(part in line for part, line in zip(objections, given, strict=True))


def test_few_labels_keep_the_radius_of_the_shipped_model() -> None:
    info = PortableEngine(MODEL).model
    few = Answers(strangers=Queries(["a", "b"] * 40, [None] * 80, [30] * 80))
    radius, basis = finetune.choose_radius(few, info)
    assert radius == info.radius and basis.startswith("the shipped model, because 10 labels")
    many = Answers(
        strangers=Queries([str(i % 10) for i in range(100)], [None] * 100, [*range(100)])
    )
    # Two of 100 strangers, at 0 and 1 bits, are within 1 bit.
    assert finetune.choose_radius(many, info)[0] == 1


def test_a_layer_without_scaling_has_almost_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    centers = rng.gamma(1.0, 1.0, (10, 64))
    labels = np.repeat(np.arange(10), 12)
    rows = (centers[labels] * rng.gamma(8, 1 / 8, (120, 64))).astype(np.float32)
    rows *= rng.uniform(0.8, 1.2, (120, 1)).astype(np.float32)
    layer = fit_layer(rows, labels, 64)
    weight, bias = without_scaling(layer, rows)
    equal = (rows @ weight.T + bias > 0) == (layer.logits(rows) > 0)
    assert equal.mean() > 0.98


def test_a_layer_is_judged_with_the_codes_of_its_model(tmp_path: Path) -> None:
    engine = PortableEngine(MODEL)
    rng = np.random.default_rng(1)
    weight = rng.normal(0, 1, (64, 1024)).astype(np.float32)
    head = (weight, -weight @ np.full(1024, 0.5, np.float32))
    info: ModelInfo = engine.model
    onnx.save(replace_head(onnx.load(MODEL), head, info), tmp_path / "other.onnx")
    exported, judged = PortableEngine(tmp_path / "other.onnx"), LayerEngine(engine, head)
    for _ in range(3):
        image = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
        np.testing.assert_array_equal(exported.hash(image), judged.hash(image))
