"""The general model: blending, its hash layer in closed form, the feature prior, the comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from edge_runtime.model import identify
from training.__main__ import main
from training.data.photo_sets import read_set
from training.experiments.shares import Pictures, judge, judge_galleries, mean_precision
from training.hash_layer.prior import feature_prior, write_prior
from training.methods.itq import fit_itq
from training.methods.whitened import covariance_within, fit_whitened
from training.onnx.blend import blend
from training.onnx.model_file import ExportError
from training.reports.preserved import preserved_section
from training.tests.conftest import ROOT, draw_photos, photo

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"


def labelled(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that differ along few directions and photos of one label along one strong one."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(12), 10)
    features = np.random.default_rng(7).normal(0, 1, (12, 20))[labels]
    features[:, 0] = 0
    features += rng.normal(0, 0.3, features.shape)
    features[:, 0] += rng.normal(0, 5, len(labels))
    return features.astype(np.float32), labels.astype(np.int64)


def test_the_covariance_within_labels() -> None:
    features, labels = labelled()
    found, freedom = covariance_within(features, labels)
    rest = np.concatenate(
        [features[labels == i] - features[labels == i].mean(0) for i in range(12)]
    )
    assert freedom == 120 - 12
    np.testing.assert_allclose(found, rest.T @ rest / freedom, rtol=1e-3, atol=1e-3)
    alone, freedom = covariance_within(features[:3], np.arange(3))
    assert freedom == 0 and not alone.any()


def test_whitening_lowers_what_differs_within_a_label() -> None:
    features, labels = labelled()
    (weight, bias), (plain, _) = fit_whitened(features, labels, 16, 1), fit_itq(features, 16, 1)
    spread = features.std(0)
    parts = [np.abs(each * spread) for each in (weight, plain)]
    shares = [each[:, 0] / each.sum(1) for each in parts]
    assert shares[0].mean() < 0.5 * shares[1].mean()
    again = fit_whitened(features, labels, 16, 1)
    assert (again[0] == weight).all() and (again[1] == bias).all()
    single, offset = fit_whitened(features, np.arange(120), 16, 1)  # no label has two photos
    assert np.isfinite(single).all() and np.isfinite(offset).all()


def test_a_blend_averages_the_convolutions_only() -> None:
    one = onnx.load(MODEL)
    other = onnx.ModelProto()
    other.CopyFrom(one)
    for tensor in other.graph.initializer:
        value = numpy_helper.to_array(tensor) * np.float32(3)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    arrays = [
        {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for model in (one, blend(one, other, 0.25))
    ]
    for name, value in arrays[1].items():
        factor = 2.5 if name.startswith("unit") else 1
        np.testing.assert_allclose(value, factor * arrays[0][name], rtol=1e-5)
    del other.graph.initializer[2]
    with pytest.raises(ExportError, match="differ in unit0"):
        blend(one, other, 0.25)


def test_a_prior_restores_what_it_was_made_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    photos = [photo(f"{i}.jpg", f"label{i // 8}") for i in range(64)]
    scales = np.array([1, 1, 1, 1, 1, 1e-3], np.float32)
    features = (np.abs(rng.normal(0, 1, (64, 6))) * scales).astype(np.float32)
    world = np.concatenate([features[:2] * 3, np.zeros((1, 6), np.float32)])
    write_prior(tmp_path / "m.prior.npz", feature_prior(features, photos, world, 1))
    prior = np.load(tmp_path / "m.prior.npz", allow_pickle=False)
    assert (int(prior["dof"]), len(prior["background"])) == (56, 8 * 5 + 3)
    expected, _ = covariance_within(features, np.repeat(np.arange(8), 8))
    stored = prior["within"].astype(np.float64) * prior["within_scale"]
    np.testing.assert_allclose(stored, expected[np.triu_indices(6)], rtol=2e-3, atol=1e-12)
    background = prior["background"] * prior["background_scale"][:, None]
    step = prior["background_scale"].max() / 2
    np.testing.assert_allclose(background[-3:], world, atol=step + 1e-6)
    distance = np.abs(background[:-3, None] - features[None]).max(2).min(1)
    assert distance.max() <= step + 1e-6


def test_galleries_of_labels_that_are_told_apart() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([f"label{i}" for i in range(12)], 6)
    centers = np.repeat(np.eye(12, dtype=np.float32), 6, 0)[:, None]
    clear = Pictures(labels, centers + rng.normal(0, 0.01, (72, 2, 12)).astype(np.float32))
    best = {"precision1": 100.0, "right": 100.0, "auroc": 100.0}
    assert judge_galleries(clear, None, 1, 1) == judge_galleries(clear, clear, 3, 1) == best
    assert mean_precision(clear, clear) == 100.0
    noise = Pictures(labels, rng.normal(0, 1, (72, 2, 12)).astype(np.float32))
    found = judge_galleries(noise, None, 1, 1)
    assert found["right"] <= found["precision1"] < 40 and 35 < found["auroc"] < 65


def test_the_judge_uses_views_of_new_objects_only(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=12, each=6)
    photos = read_set(tmp_path / "set")
    calls = []

    def run(image: np.ndarray) -> np.ndarray:
        calls.append(1)
        return image[:, :, ::16, ::16].reshape(1, -1)

    table = judge(run, 64, {"new": (photos, [])}, 1)
    assert len(calls) == 6 * len(photos) and set(table["new"]) == {"1", "3"}
    calls.clear()
    table = judge(run, 64, {"own": (photos[::2], photos[1::2])}, 1)
    assert len(calls) == len(photos) and table["own"]["map100"] > 0


def test_the_shares_must_be_numbers(tmp_path: Path) -> None:
    arguments = ["compare-shares", "--model", str(MODEL), "--weights", "w.npz", "--data", ".",
                 "--new", ".", "--out", "o.json"]  # fmt: skip
    done = CliRunner().invoke(main, [*arguments, "--shares", "0,half"])
    assert done.exit_code == 3 and '"0,half" is not a list of shares' in done.output
    done = CliRunner().invoke(main, [*arguments, "--network", "lite"])
    assert done.exit_code == 3 and '"lite" is not NAME=FILE' in done.output
    done = CliRunner().invoke(main, [*arguments, "--checkpoint", "run=absent.pt"])
    assert done.exit_code == 3 and '"run=absent.pt" is not NAME=FILE' in done.output


def test_runs_are_compared_with_the_general_model() -> None:
    def row(new: float, own: float) -> dict[str, Any]:
        galleries = {photos: {"right": new, "auroc": 90.0} for photos in ("1", "3")}
        return {"objects": galleries, "grocery": {**galleries, "map100": own}}

    run = {"stages": [[160, 10]], "frozen": 23, "stored_views": 4, "rate": 0.001,
           "features_rate": 0.3, "preserve": 20.0, "head_first": 0}  # fmt: skip
    result: dict[str, Any] = {
        "rows": {"0": row(87, 43), "0.25": row(88, 56), "1": row(32, 87), "preserved": row(91, 50)},
        "shares": ["0", "0.25", "1"], "new": {"objects": {"labels": 15, "photos": 81}},
        "runs": {"preserved": run},
    }  # fmt: skip
    page = preserved_section(result)
    assert "with weight 20, features learn at 0.0003" in page[1] and "10 epochs" in page[1]
    assert "| distillation | 91.0 / 90.0 |" in page[2]
    assert "None of the runs is clearly better" in page[3]
    assert "distillation +3.0, +3.0, -6.0" in page[3]
    result["rows"]["preserved"] = row(91, 56)
    assert (
        "**Clearly better than the general model: distillation.**" in preserved_section(result)[3]
    )


def test_the_general_model_is_what_its_evidence_says() -> None:
    evidence = json.loads((ROOT / "training/results/build_model_general.json").read_text())
    path = ROOT / "models" / evidence["model"]
    assert path.stat().st_size == evidence["bytes"]
    assert evidence["head"]["method"] == "whitened" and evidence["backbone"]["share"] == 0.25


def test_the_results_show_what_was_forgotten_and_what_the_blend_keeps() -> None:
    result = json.loads((ROOT / "training/results/general.json").read_text())
    assert result["model"] == identify(MODEL)[0]
    imagenet, general, specialist = (result["rows"][share] for share in ("0", "0.25", "1"))
    for photos in ("1", "3"):
        right = [row["objects"][photos]["right"] for row in (imagenet, general, specialist)]
        assert right[2] + 30 < right[0] <= right[1]
    assert imagenet["grocery"]["map100"] + 10 < general["grocery"]["map100"]
    layers = result["layers"]
    assert max(layers, key=lambda name: layers[name]["objects"]["3"]["precision1"]) == "whitened"
