"""The confidence of the shipped model's answers, where a gallery tells little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine import Engine, open_engine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.fitting.calibration import TRUST
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.recognition.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[2]


def _plain(value: int) -> Image:
    return np.full((240, 320, 3), value, np.uint8)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine(ROOT / "models" / "mobilenet_v1_general.onnx")


def test_a_white_picture_is_not_a_black_one(engine: Engine, tmp_path: Path) -> None:
    with Gallery(tmp_path / "gallery.sqlite", engine.model, create=True) as gallery:
        enroll_photos(engine, gallery, [("black", _plain(0))], EnrollOptions(thumbnails=False))
        pipeline = Pipeline(engine, gallery)
        assert pipeline.query(_plain(255)).label is None
        assert pipeline.query(_plain(128)).label is None
        lenient = Pipeline(engine, gallery, radius=engine.model.bits)
        white = lenient.query(_plain(255))
        assert white.label == "black" and white.confidence < TRUST
        assert pipeline.query(_plain(0)).confidence > 0.99
