"""What the tests are about. `python -m device_tests` knows the device, and starts pytest."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from compile.target.description import Target
from device_tests.bundles import SMALL, int8_bundles
from device_tests.devices.base import Device
from device_tests.results import Results
from edge_runtime.bundle import read_manifest
from edge_runtime.image import Image

PICTURES = 4
LABELS = ("hall", "stairs")


def pytest_configure(config: pytest.Config) -> None:
    """Say so to whoever starts pytest by itself."""
    if not config.pluginmanager.has_plugin(Results.NAME):
        raise pytest.UsageError("the device tests are started by: make device-test TARGET=rpi4")


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    """What is run on which device, and where its reports are kept."""
    plugin = pytestconfig.pluginmanager.get_plugin(Results.NAME)
    assert isinstance(plugin, Results)
    return plugin


@pytest.fixture(scope="session")
def target(results: Results) -> Target:
    """The device's description."""
    return results.target


@pytest.fixture(scope="session")
def device(results: Results) -> Device:
    """The device itself."""
    return results.device


@pytest.fixture(scope="session")
def bundle(results: Results) -> Path:
    """The bundle, here."""
    return results.bundle


@pytest.fixture(scope="session")
def placed(device: Device, bundle: Path) -> str:
    """The bundle, there."""
    return device.put(bundle)


@pytest.fixture(scope="session")
def pictures(bundle: Path) -> Image:
    """A few fitted pictures for the bundle."""
    return _pictures(int(read_manifest(bundle)["model"]["input"]["size"]))


@pytest.fixture(scope="session")
def integers(target: Target, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Image]:
    """Bundles in int8 for the device and for this machine, and pictures for them."""
    made = _pictures(SMALL)
    return *int8_bundles(target, made, tmp_path_factory.mktemp("int8")), made


@pytest.fixture(scope="session")
def photos(device: Device, pictures: Image, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of photos there, one sub-folder a label, each with 1.png."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    for label, picture in zip(LABELS, pictures, strict=False):
        (folder / label).mkdir(parents=True)
        cv2.imwrite(str(folder / label / "1.png"), picture)
    return device.put(folder)


@pytest.fixture(scope="session")
def gallery(device: Device, photos: str, placed: str) -> str:
    """A gallery there, in which these photos are enrolled."""
    place = f"{device.folder}/gallery.sqlite"
    done = device.runtime("enroll", "--gallery", place, "--model", placed, photos)
    assert done.returncode == 0, done.stderr
    return place


def _pictures(size: int) -> Image:
    made = np.random.default_rng(5).integers(0, 256, (PICTURES, size // 8, size // 8, 3), np.uint8)
    return np.ascontiguousarray(made.repeat(8, axis=1).repeat(8, axis=2))
