"""What the tests of the batch command share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.batch import tiny_model, write_photos


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", 12)
