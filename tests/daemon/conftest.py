"""What the tests of the daemon share: a film and a configuration."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.scenes import read_scene
from edge_runtime.engine import Engine
from edge_runtime.image import Image
from tests.support.service import CONFIG, enroll_near


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a cat, one second long."""
    path = tmp_path_factory.mktemp("film") / "cat.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    frame = cv2.resize(read_scene("chelsea.png"), (640, 480))
    for _ in range(20):
        writer.write(np.asarray(frame, np.uint8))
    writer.release()
    return path


@pytest.fixture
def config(tmp_path: Path, film: Path, engine: Engine, cat: Image) -> Path:
    enroll_near(engine, tmp_path / "g.sqlite", cat=cat)
    path = tmp_path / "edge.toml"
    path.write_text(CONFIG.format(film=film))
    return path
