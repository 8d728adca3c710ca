"""What the tests share: real photos, the shipped engine, a gallery in a scratch folder."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from demo.scenes import read_scene
from edge_runtime.engine import Engine, open_engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from tests.support.bundles import make_bundle

# In the background of a script Ctrl-C is ignored, and what we start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the gallery of whoever runs it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))
    monkeypatch.delenv("EDGE_RUNTIME_GALLERY", raising=False)
    monkeypatch.delenv("EDGE_RUNTIME_MODEL", raising=False)
    monkeypatch.delenv("EDGE_RUNTIME_TRUST", raising=False)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The real one, with the shipped network."""
    return open_engine()


@pytest.fixture
def fake_engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def gallery(tmp_path: Path, fake_engine: FakeEngine) -> Iterator[Gallery]:
    with Gallery(tmp_path / "gallery.sqlite", fake_engine.model, create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def cat() -> Image:
    """A real photograph, 300 x 451."""
    return read_scene("chelsea.png")


@pytest.fixture
def noise() -> Callable[[int], Image]:
    """A 48 x 64 picture for each seed, all different."""

    def make(seed: int) -> Image:
        return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB, where we may mount one; else a limit on the file's size."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="session")
def valid_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a valid bundle for this machine."""
    folder = tmp_path_factory.mktemp("valid") / "bundle"
    folder.mkdir()
    return make_bundle(folder)


@pytest.fixture
def bundle(valid_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the valid bundle that a test may damage."""
    return Path(shutil.copytree(valid_bundle, tmp_path / "bundle"))
