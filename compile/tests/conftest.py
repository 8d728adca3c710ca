from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

os.environ["TVM_FFI_DISABLE_TORCH_C_DLPACK"] = "1"

from compile import cache
from compile.target.description import Target, read_target
from compile.tests.helpers import build, save_sample
from compile.verify import criteria


@pytest.fixture(scope="session", autouse=True)
def speed_never_rejects() -> Iterator[None]:
    """Measure the speed as always, but let it pass.

    The networks of the tests are tiny. On a busy machine one of them can seem slower than ONNX
    Runtime, and its bundle would be rejected. Benchmarks judge the speed; test_build_faults.py
    covers the rejection.
    """
    measure = criteria.measure_speed

    def measured(*arguments: object) -> criteria.Speed:
        speed = measure(*arguments)  # type: ignore[arg-type]
        return replace(speed, ratio=min(speed.ratio, 0.999))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(criteria, "measure_speed", measured)
        yield


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
