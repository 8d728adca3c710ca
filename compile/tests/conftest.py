from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

os.environ["TVM_FFI_DISABLE_TORCH_C_DLPACK"] = "1"

from compile import cache
from compile.build import Request, Result, compile_bundle
from compile.target.description import Target, read_target
from compile.tests.sample import Sample


@pytest.fixture(scope="session", autouse=True)
def keep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is kept from one compile to the next is kept apart from the user's."""
    cache.FOLDER = tmp_path_factory.mktemp("kept")
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
    """It, compiled for this machine."""
    return build(small_model, host, tmp_path_factory.mktemp("bundle") / "host").bundle


def save_sample(
    path: Path,
    kind: str = "v1",
    *,
    size: int = 96,
    width: float = 0.25,
    bits: int = 64,
    classes: int = 0,
    batch_norm: bool = False,
) -> Path:
    sample = Sample(size, width, bits, batch_norm=batch_norm)
    getattr(sample, kind)()
    sample.finish(path, classes=classes)
    return path


def build(model: Path, target: Target, out: Path, *, pictures: int = 40) -> Result:
    """One trial a workload: the choice of the rule of thumb."""
    records = out.parent / "records"
    request = Request(model, target, out, trials=1, records=records, pictures=pictures)
    return compile_bundle(request)


def random_pictures(size: int, count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
