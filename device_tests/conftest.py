"""Fixtures of the device tests. `python -m device_tests` opens the device and starts pytest."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from compile.target.description import Target
from device_tests.bundles import SMALL, int8_bundles
from device_tests.devices.base import Device
from device_tests.results import Results
from edge_runtime.image import Image
from edge_runtime.trust.manifest import read_manifest

PICTURES = 4
LABELS = ("hall", "stairs")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run without `python -m device_tests`."""
    if not config.pluginmanager.has_plugin(Results.NAME):
        raise pytest.UsageError("start the device tests with: make device-test TARGET=rpi4")


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    """The plugin that collects the results of this run."""
    plugin = pytestconfig.pluginmanager.get_plugin(Results.NAME)
    assert isinstance(plugin, Results)
    return plugin


@pytest.fixture(scope="session")
def target(results: Results) -> Target:
    """The description of the device."""
    return results.target


@pytest.fixture(scope="session")
def device(results: Results) -> Device:
    """The device under test."""
    return results.device


@pytest.fixture(scope="session")
def bundle(results: Results) -> Path:
    """The bundle on this machine."""
    return results.bundle


@pytest.fixture(scope="session")
def remote_bundle(device: Device, bundle: Path) -> str:
    """The path of the bundle on the device."""
    return device.put(bundle)


@pytest.fixture(scope="session")
def pictures(bundle: Path) -> Image:
    """A few pictures of the size that the bundle expects."""
    return _pictures(int(read_manifest(bundle)["model"]["input"]["size"]))


@pytest.fixture(scope="session")
def int8_case(target: Target, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Image]:
    """int8 bundles for the device and for this machine, and pictures for them."""
    small = _pictures(SMALL)
    return *int8_bundles(target, small, tmp_path_factory.mktemp("int8")), small


@pytest.fixture(scope="session")
def photos(device: Device, pictures: Image, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of photos on the device: one sub-folder per label, each with 1.png."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    for label, picture in zip(LABELS, pictures, strict=False):
        (folder / label).mkdir(parents=True)
        cv2.imwrite(str(folder / label / "1.png"), picture)
    return device.put(folder)


@pytest.fixture(scope="session")
def gallery(device: Device, photos: str, remote_bundle: str) -> str:
    """A gallery on the device in which these photos are enrolled."""
    path = f"{device.folder}/gallery.sqlite"
    done = device.runtime("enroll", "--gallery", path, "--model", remote_bundle, photos)
    assert done.returncode == 0, done.stderr
    return path


def _pictures(size: int) -> Image:
    blocks = np.random.default_rng(5).integers(
        0, 256, (PICTURES, size // 8, size // 8, 3), np.uint8
    )
    return np.ascontiguousarray(blocks.repeat(8, axis=1).repeat(8, axis=2))
