"""Codes that are fitted to a gallery, on labels that a training run did not see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from edge_runtime.code import Code
from edge_runtime.fitting.prior import scatter
from edge_runtime.fitting.quantized import unit
from training.commands.studies import unseen
from training.data.photo_sets import read_set
from training.data.pixel_cache import open_cache
from training.data.splits import TRAIN_SPLITS, hold_out, save_split
from training.experiments.methods import Part
from training.experiments.unseen import HiddenLabels, judge_hidden, visible_prior
from training.fit.recipe import Recipe
from training.fit.run_dir import load_hash_layer
from training.fit.trainer import train
from training.hash_layer import backbone
from training.hash_layer.codes import to_codes
from training.models.checkpoint import CheckpointError
from training.models.mobilenet_v1 import Backbone
from training.reports.unseen import FITTED_TARGETS, fitted_section
from training.tests.conftest import draw_photos, photo

LABELS, HIDDEN = 8, {"label6", "label7"}


def part(each: int, seed: int) -> Part:
    """Photos of labels that differ a little, below one strong direction that says nothing."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(LABELS), each)
    features = 3 + np.random.default_rng(7).normal(0, 1, (LABELS, 24))[numbers]
    features += rng.normal(0, 0.2, features.shape)
    features[:, 0] += rng.normal(0, 6, len(numbers))
    photos = [photo(f"{seed}/{i}.jpg", f"label{n}") for i, n in enumerate(numbers)]
    return Part(photos, features.astype(np.float32))


def test_a_fitted_code_finds_hidden_labels_that_plain_features_do_not() -> None:
    database, queries = part(6, 1), part(3, 2)
    layer = (np.eye(16, 24, dtype=np.float32), np.full(16, -3, np.float32))
    found = judge_hidden(database, queries, HiddenLabels(HIDDEN, layer), (16, 32))["set"]
    assert set(found["fitted"]) == {"16", "32"} and set(found["own"]) == {"16"}
    assert found["fitted"]["32"] > found["float"] + 10
    assert "own" not in judge_hidden(database, queries, HiddenLabels(HIDDEN), (16,))["set"]


def test_the_prior_is_of_the_labels_that_training_saw() -> None:
    database = part(6, 1)
    shown = unit(database.features[: 6 * 6])
    within, freedom = scatter(shown, np.repeat(np.arange(6), 6))
    np.testing.assert_allclose(visible_prior(database, HIDDEN).within, within / freedom)
    changed = Part(database.photos, database.features.copy())
    changed.features[6 * 6 :] *= -1
    np.testing.assert_array_equal(
        visible_prior(changed, HIDDEN).within, visible_prior(database, HIDDEN).within
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a short run with hidden labels of the folder `set`, which has queries."""
    draw_photos(Path("set"), labels=10)
    rows = [f"label{i}/{j:03}.png,label{i},{'test' if j > 3 else 'train'}"
            for i in range(10) for j in range(6)]  # fmt: skip
    Path("set/manifest.csv").write_text("\n".join(["path,label,split", *rows]))
    photos = [each for each in read_set(Path("set")) if each.split in TRAIN_SPLITS]
    kept, held = hold_out(photos, "classes", 5)
    names = sorted({each.label for each in kept})
    labels = np.array([names.index(each.label) for each in kept], np.int64)
    torch.manual_seed(1)
    recipe = Recipe(method="joint", bits=16, stages=((32, 1),), batch=8, frozen=0)
    train(open_cache(kept), labels, names, Backbone(0.25), recipe, Path("run"), lambda _: None)
    save_split(Path("run/split.csv"), "classes", {"train": kept, "validation": held, "query": []})
    monkeypatch.setattr(backbone, "load_imagenet", lambda path: Backbone(0.25).eval())
    Path("weights").write_bytes(b"ImageNet")
    return Path("run")


def command(*options: str) -> Result:
    fixed = "--run run --weights weights --data set --size 32 --out out.json"
    return CliRunner().invoke(unseen.main, [*fixed.split(), *options])


def test_shares_of_a_run_are_judged_on_its_hidden_labels(run: Path) -> None:
    done = command("--shares", "0,0.5,1", "--bits", "8,16")
    assert done.exit_code == 0, done.output
    result = json.loads(Path("out.json").read_text())
    assert result["hidden"]["set"] == {
        "labels": 2, "all_labels": 10, "enrolled": 8, "database": 40, "queries": 4
    }  # fmt: skip
    assert result["run"]["labels"] == 8 and set(result["rows"]) == {"0", "0.5", "1"}
    for share, row in result["rows"].items():
        assert set(row["set"]["fitted"]) == {"8", "16"}
        assert set(row["set"].get("own", ())) == ({"16"} if share == "1" else set())


def test_the_layer_of_a_run_makes_its_bits(run: Path) -> None:
    weight, bias = load_hash_layer(run / "checkpoint.pt")
    assert weight.shape == (16, Backbone(0.25).features) and bias.shape == (16,)
    codes: Code = to_codes(np.zeros((1, weight.shape[1]), np.float32), (weight, bias))
    assert int(codes[0, 0]).bit_count() == int((bias > 0).sum())


def test_a_run_without_hidden_labels_is_refused(run: Path) -> None:
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    state["identity"]["classes"] = [f"label{i}" for i in range(8)]
    torch.save(state, run / "checkpoint.pt")
    done = command()
    assert done.exit_code == 3 and "of its held-out labels" in done.output, done.output
    assert done.output.count("\n") == 1
    done = command("--shares", "0,2")
    assert done.exit_code == 3 and "not a list of shares" in done.output
    state["averaged"].pop("module.head.hash.weight")
    torch.save(state, run / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="no hash layer"):
        load_hash_layer(run / "checkpoint.pt")


def test_the_page_says_which_targets_are_missed() -> None:
    def row(value: float, **own: dict[str, float]) -> dict[str, object]:
        fitted = {"64": value, "128": value}
        return {name: {"float": 40.0, "fitted": fitted, **own} for name in FITTED_TARGETS}

    held = {"labels": 2, "all_labels": 9, "enrolled": 8, "database": 40, "queries": 4}
    result = {
        "run": {"epochs_done": 3, "stages": [[160, 2], [192, 1]]},
        "hidden": dict.fromkeys(FITTED_TARGETS, held),
        "rows": {"0": row(20.0), "1": row(63.0, own={"64": 30.0})},
    }
    text = "\n".join(fitted_section(result))
    assert "grocery, 64 bits, at least 62: **reached** by the shares 1; the best is 63.0" in text
    assert "grocery, 128 bits, at least 67: **missed**; the best is 63.0 at the share 1" in text
    assert "- all targets: by no share." in text
    assert "grocery 30.0 (-10.0 from ImageNet features by cosine" in text
    assert "-33.0 from a fitted code of them at 64 bits" in text
