"""`python -m training finetune --unlabelled`: a folder of photos in, a model or a reason out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edge_runtime.engine.portable import PortableEngine
from training.__main__ import main
from training.hash_layer.feature_model import read_head, replace_head
from training.tests.conftest import ROOT, draw_photos

MODEL = ROOT / "models" / "mobilenet_v1_general.onnx"


@pytest.fixture
def poor(tmp_path: Path) -> Path:
    """A copy of the shipped network whose layer gives every photo the same code."""
    model, info = onnx.load(MODEL), PortableEngine(MODEL).model
    weight, bias = read_head(model)
    path = tmp_path / "poor.onnx"
    onnx.save(replace_head(model, (np.zeros_like(weight), np.ones_like(bias)), info), path)
    return path


def fit(*options: str | Path) -> Result:
    words = ["finetune", "--unlabelled", "--bits", "16", "--out", "own", *map(str, options)]
    return CliRunner().invoke(main, words)


def test_a_code_is_fitted_without_labels_and_says_that_it_has_no_accuracy(poor: Path) -> None:
    draw_photos(Path("set"), labels=10, each=6)
    done = fit("--data", "set", "--model", poor)
    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["photos"], report["fitted"], report["queries"]) == (60, 48, 12)
    assert (report["kept"], report["method"], report["labels_used"]) == ("new", "itq", False)
    assert report["new"]["reciprocal_rank"] > report["shipped"]["reciprocal_rank"]
    info = PortableEngine(Path(report["model"])).model
    assert (info.bits, info.radius) == (16, report["radius"])
    last = done.stderr.splitlines()[-1]
    assert last.startswith("better: ") and "an accuracy needs" in last


def test_labelled_photos_judge_and_are_not_fitted_to(poor: Path) -> None:
    draw_photos(Path("set"), labels=10, each=6)
    for label in ("label0", "label1", "label2"):
        shutil.copytree(Path("set") / label, Path("judge") / label)
    shutil.rmtree("set/label0")
    Path("set/label0").symlink_to(Path("judge/label0").absolute())  # not followed: a link
    done = fit("--data", "set", "--judge", "judge", "--model", poor)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["labels_used"] and report["kept"] == "new"
    assert report["new"]["map100"] > report["shipped"]["map100"]
    assert "an accuracy needs" not in done.stderr


def test_the_shipped_model_is_kept_where_nothing_is_gained() -> None:
    draw_photos(Path("set"), labels=10, each=6)
    done = fit("--data", "set", "--model", MODEL, "--method", "lsh")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kept"] == "shipped"
    assert "keep the shipped model" in done.stderr and not list(Path("own").glob("*.onnx"))


def test_one_photo_many_times_is_refused_in_one_line() -> None:
    draw_photos(Path("set"), labels=1, each=1)
    for number in range(50):
        shutil.copy("set/label0/000.png", f"set/copy{number}.png")
    done = fit("--data", "set", "--model", MODEL)
    assert done.exit_code == 3
    assert "set: 1 different photo among 51; 16 bits need 27" in done.stderr


def test_broken_files_are_named_and_counted() -> None:
    draw_photos(Path("set"), labels=2, each=6)
    for number in range(5):
        Path(f"set/broken{number}.jpg").write_bytes(b"not a photo")
    done = fit("--data", "set", "--model", MODEL)
    assert done.exit_code == 3
    assert done.stderr.count("skipped broken") == 5
    assert "12 different photos, and 5 unreadable" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--data", "nowhere"), 3, "nowhere: not a folder"),
        (("--data", "empty"), 3, "empty: no photos"),
        (("--data", "empty", "--method", "paper"), 2, "for photos with labels"),
    ],
)
def test_bad_input_is_one_line(options: tuple[str, ...], code: int, words: str) -> None:
    Path("empty").mkdir()
    done = fit(*options, "--model", MODEL)
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    "options", [("--judge", "set"), ("--bits", "16"), ("--method", "itq")], ids=lambda o: o[0]
)
def test_options_for_photos_without_labels_are_named(options: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["finetune", "--data", "set", *options])
    assert done.exit_code == 2 and "label" in done.stderr
