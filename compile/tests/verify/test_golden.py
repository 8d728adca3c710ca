"""The golden codes that a compiled network is compared with."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from compile.verify.golden import GoldenCodes
from compile.verify.images import load_views
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import NoPhotosError


def test_codes_are_onnx_runtimes_and_computed_once(small_model: Path, cache_folder: Path) -> None:
    engine, views = PortableEngine(small_model), load_views(None, 96, 30)
    before = set(cache_folder.iterdir())
    with GoldenCodes(small_model, None) as golden:
        golden.begin(30)
        first = golden.get(30)
        assert golden.get(30) is first
    assert (first.pictures == views).all() and 1 < first.photographs <= 30
    assert (first.codes == np.stack([engine.hash(picture) for picture in views])).all()
    assert len(set(cache_folder.iterdir()) - before) == 1
    with GoldenCodes(small_model, None) as golden:
        assert (golden.get(30).codes == first.codes).all(), "from the cache"


def test_leaving_does_not_wait_for_the_rest(small_model: Path) -> None:
    with GoldenCodes(small_model, None) as golden:
        slow = golden.engine.hash

        def hashed(picture: np.ndarray) -> np.ndarray:
            time.sleep(0.2)
            return slow(picture)

        golden.engine.hash = hashed  # type: ignore[assignment, method-assign]
        golden.begin(1000)
        began = time.monotonic()
    assert time.monotonic() - began < 100, "a thousand codes would take two hundred seconds"


def test_a_missing_photo_folder_is_reported_on_use(small_model: Path, tmp_path: Path) -> None:
    with GoldenCodes(small_model, tmp_path / "none") as golden:
        golden.begin(3)
        with pytest.raises(NoPhotosError, match="no such folder"):
            golden.get(3)
