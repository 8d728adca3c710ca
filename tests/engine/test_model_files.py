"""The files in models/: the default, its feature prior, and the specialist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import GalleryModelMismatchError
from edge_runtime.gallery import Gallery
from edge_runtime.model import (
    MODEL_FILE,
    PACKAGED_MODEL_FILE,
    SPECIALIST_FILES,
    find_model,
    find_prior,
    identify,
    prior_path,
    specialist_file,
)
from tests.support.processes import ROOT

MODELS = ROOT / "models"


def test_both_general_models_give_features_and_share_a_prior() -> None:
    assert find_model() == MODELS / MODEL_FILE
    files = [MODELS / name for name in (MODEL_FILE, PACKAGED_MODEL_FILE)]
    assert [PortableEngine(file).model.features for file in files] == [1024, 1024]
    assert [find_prior(file) for file in files] == [prior_path(files[0])] * 2
    assert files[0].stat().st_size <= 13_200_000
    assert prior_path(files[0]).stat().st_size <= 2_000_000


def test_the_prior_describes_the_features() -> None:
    prior = np.load(prior_path(MODELS / MODEL_FILE), allow_pickle=False)
    width, rows = 1024, len(prior["background"])
    kinds = {name: (prior[name].dtype.name, prior[name].shape) for name in prior.files}
    assert kinds == {
        "mean": ("float32", (width,)),
        "within": ("float16", (width * (width + 1) // 2,)),
        "within_scale": ("float32", ()),
        "dof": ("int64", ()),
        "background": ("int8", (rows, width)),
        "background_scale": ("float32", (rows,)),
    }
    assert rows >= 1000 and prior["dof"] > 4 * width
    covariance = np.zeros((width, width))
    covariance[np.triu_indices(width)] = prior["within"].astype(np.float64)
    covariance = (covariance + np.triu(covariance, 1).T) * prior["within_scale"]
    values = np.linalg.eigvalsh(covariance)
    assert values[0] > -1e-3 * values[-1] and np.diag(covariance).min() > 0
    assert (prior["background"].max(1) == 127).all()  # features are 0 or more


def test_the_prior_of_a_file_and_of_a_bundle(tmp_path: Path) -> None:
    model = tmp_path / "net_int8.onnx"
    assert find_prior(model) is None
    shared = tmp_path / "net.prior.npz"
    shared.touch()
    assert find_prior(model) == find_prior(tmp_path / "net.onnx") == shared
    own = prior_path(model)
    own.touch()
    assert find_prior(model) == own
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "prior.npz").touch()
    (bundle / "prior.npz").touch()
    assert find_prior(bundle) == prior_path(bundle) == bundle / "prior.npz"
    assert find_prior(bundle / "model.onnx") is None
    (bundle / "manifest.json").touch()
    assert find_prior(bundle / "model.onnx") == bundle / "prior.npz"
    (bundle / "prior.npz").unlink()
    assert find_prior(bundle) is None


@pytest.mark.parametrize("name", SPECIALIST_FILES)
def test_a_gallery_of_the_specialist_names_its_file(name: str, tmp_path: Path) -> None:
    specialist = PortableEngine(MODELS / name).model
    assert SPECIALIST_FILES[name] == (specialist.id, *specialist.same_codes_as)
    general = PortableEngine(find_model()).model
    for number, model_id in enumerate(SPECIALIST_FILES[name]):
        path = tmp_path / f"{number}.sqlite"
        with Gallery(path, replace(specialist, id=model_id), create=True):
            pass
        with pytest.raises(GalleryModelMismatchError, match=f"use --model models/{name}, move"):
            Gallery(path, general)
        with Gallery(path, specialist):
            pass
    assert specialist_file(identify(find_model())[0]) is None
