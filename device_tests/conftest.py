"""Which device, which bundle.

python -m pytest device_tests --target rpi4 [--host pi@board] [--small]
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TVM_FFI_DISABLE_TORCH_C_DLPACK", "1")

import numpy as np
import pytest

from compile.build import Request, compile_bundle
from compile.sample import Sample
from compile.target import Target, read_target
from compile.userland import ROOT
from device_tests.device import Device, EmulatedDevice, SshDevice
from edge_runtime.bundle import MODEL, is_bundle
from edge_runtime.fit import Image
from edge_runtime.model import MODEL_FILE

PICTURES = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `make device-test`."""
    parser.addoption("--target", default="rpi4", help="A device, or several: rpi3,rpi4,rpi5.")
    parser.addoption("--host", default="", help="user@board; without it the device is emulated.")
    parser.addoption("--small", action="store_true", help="A small network, compiled for the test.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test once for each device."""
    if "target" in metafunc.fixturenames:
        names = metafunc.config.getoption("--target").split(",")
        metafunc.parametrize("target", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The device's description."""
    return read_target(request.param)


@pytest.fixture(scope="session")
def device(target: Target, pytestconfig: pytest.Config) -> Device:
    """The device itself."""
    host = pytestconfig.getoption("--host")
    return SshDevice(host) if host else EmulatedDevice(target)


@pytest.fixture(scope="session")
def bundle(
    target: Target, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`make compile`'s bundle for the device, or one of a small network."""
    if not pytestconfig.getoption("--small"):
        path = ROOT / "build" / target.name
        if not is_bundle(path):
            compile_bundle(Request(ROOT / "models" / MODEL_FILE, target, path))
        return path
    folder = tmp_path_factory.mktemp(target.name)
    sample = Sample(96, 0.25, 64)
    sample.v1()
    sample.finish(folder / MODEL)
    request = Request(
        folder / MODEL, target, folder / "bundle", trials=1, records=folder, pictures=PICTURES
    )
    result = compile_bundle(request)
    assert result.promoted, result.evidence
    return result.bundle


@pytest.fixture(scope="session")
def pictures(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Image]:
    """A few fitted pictures, as numbers and as a raw file."""
    from edge_runtime.bundle import read_manifest

    size = read_manifest(bundle)["model"]["input"]["size"]
    made = np.random.default_rng(5).integers(0, 256, (PICTURES, size // 8, size // 8, 3), np.uint8)
    made = np.ascontiguousarray(made.repeat(8, axis=1).repeat(8, axis=2))
    path = tmp_path_factory.mktemp("pictures") / "pictures.npy"
    np.save(path, made)
    return path, made
