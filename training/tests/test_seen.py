"""Codes that are fitted to a gallery, on the labels that training saw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_runtime.fitting.fit import fit_layer
from edge_runtime.fitting.quantized import quantize
from training.commands.studies import seen
from training.experiments.methods import Part
from training.experiments.unseen import judge_seen
from training.reports.seen import TARGETS, seen_section
from training.tests.conftest import ROOT, draw_photos, photo

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"
LABELS = 8


def _part(each: int, seed: int) -> Part:
    """Photos of labels that differ a little, below one strong direction that says nothing."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(LABELS), each)
    features = 3 + np.random.default_rng(7).normal(0, 1, (LABELS, 24))[numbers]
    features += rng.normal(0, 0.2, features.shape)
    features[:, 0] += rng.normal(0, 6, len(numbers))
    photos = [photo(f"{seed}/{i}.jpg", f"label{n}") for i, n in enumerate(numbers)]
    return Part(photos, features.astype(np.float32))


def test_a_fitted_code_finds_what_plain_features_do_not() -> None:
    found = judge_seen(_part(6, 1), _part(3, 2), None, (16, 32), (1, 2))["set"]
    assert {bits: set(by_seed) for bits, by_seed in found["fitted"].items()} == {
        "16": {"1", "2"}, "32": {"1", "2"}
    }  # fmt: skip
    assert found["fitted"]["32"]["1"] > found["float"] + 10


def test_the_first_start_is_that_of_the_runtime() -> None:
    part = _part(6, 1)
    features, labels = quantize(part.features), np.repeat(np.arange(LABELS), 6)
    plain, first, second = (
        fit_layer(features, labels, 16),
        fit_layer(features, labels, 16, seed=1),
        fit_layer(features, labels, 16, seed=2),
    )
    np.testing.assert_array_equal(plain.weight, first.weight)
    assert not np.array_equal(plain.weight, second.weight)


@pytest.mark.slow
def test_the_command_judges_the_official_queries() -> None:
    draw_photos(Path("set"), labels=5, each=4)
    rows = [f"label{i}/{j:03}.png,label{i},{'test' if j > 2 else 'train'}"
            for i in range(5) for j in range(4)]  # fmt: skip
    Path("set/manifest.csv").write_text("\n".join(["path,label,split", *rows]))
    given = ["--model", str(MODEL), "--data", "set", "--bits", "16", "--seeds", "2"]
    done = CliRunner().invoke(seen.main, [*given, "--out", "out.json"])
    assert done.exit_code == 0, done.output
    result = json.loads(Path("out.json").read_text())
    row = result["models"]["mobilenet_v1_hash64"]
    assert not row["prior"] and set(row["sets"]["set"]["fitted"]["16"]) == {"1", "2"}
    assert result["splits"]["set"]["split_sha256"]
    done = CliRunner().invoke(seen.main, [*given, "--bits", "0", "--out", "out.json"])
    assert done.exit_code == 3 and "code lengths" in done.output


def test_the_page_says_whether_the_runtime_and_the_mean_reach_the_target() -> None:
    def row(*values: float) -> dict[str, object]:
        by_seed = {str(seed): value for seed, value in enumerate(values, 1)}
        return {"float": 80.0, "fitted": {"64": by_seed, "128": by_seed}}

    model, other = next(iter(TARGETS)), "other"
    sets = {"grocery": row(89.2, 88.4), "ie_tower": row(60.0, 61.0)}
    result = {
        "models": {
            model: {"prior": False, "sets": sets},
            other: {"prior": True, "sets": {name: row(70.0, 70.0) for name in sets}},
        }
    }
    text = "\n".join(seen_section(result))
    assert "89.2 (88.4 to 89.2)" in text
    assert "grocery, 64 bits, at least 86.5: **reached** (89.2; mean of 2 starts 88.8)" in text
    assert (
        "grocery, 128 bits, at least 89.0: **reached** (89.2; mean of 2 starts 88.8, below)" in text
    )
