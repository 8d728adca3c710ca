from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["TVM_FFI_DISABLE_TORCH_C_DLPACK"] = "1"

from compile import cache
from compile.target.description import Target, read_target
from compile.tests.helpers import build, save_sample


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache apart from the user's."""
    cache.FOLDER = tmp_path_factory.mktemp("cache")
    return cache.FOLDER


@pytest.fixture(scope="session")
def host() -> Target:
    return read_target("host")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNet-v1 0.25 at 96 pixels, random weights."""
    return save_sample(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="session")
def small_bundle(small_model: Path, host: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model, compiled for this machine."""
    return build(small_model, host, tmp_path_factory.mktemp("bundle") / "host").bundle
