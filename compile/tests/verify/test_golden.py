"""What a compiled network is compared with."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from compile.verify.golden import GoldenCodes
from compile.verify.images import pictures
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import NoPhotosError


def test_codes_are_those_of_onnx_runtime_and_made_once(small_model: Path, keep: Path) -> None:
    engine, made = PortableEngine(small_model), pictures(None, 96, 30)
    before = set(keep.iterdir())
    with GoldenCodes(small_model, None) as truth:
        truth.begin(30)
        seen = truth.of(30)
        assert truth.of(30) is seen
    assert (seen.pictures == made).all() and 1 < seen.photographs <= 30
    assert (seen.codes == np.stack([engine.hash(picture) for picture in made])).all()
    assert len(set(keep.iterdir()) - before) == 1
    with GoldenCodes(small_model, None) as truth:
        assert (truth.of(30).codes == seen.codes).all(), "as they were kept"


def test_who_leaves_does_not_wait_for_the_rest(small_model: Path) -> None:
    with GoldenCodes(small_model, None) as truth:
        slow = truth.engine.hash

        def hashed(picture: np.ndarray) -> np.ndarray:
            time.sleep(0.2)
            return slow(picture)

        truth.engine.hash = hashed  # type: ignore[assignment, method-assign]
        truth.begin(1000)
        began = time.monotonic()
    assert time.monotonic() - began < 100, "a thousand of them would take two hundred seconds"


def test_photos_that_are_not_there_are_named_when_they_are_asked_for(
    small_model: Path, tmp_path: Path
) -> None:
    with GoldenCodes(small_model, tmp_path / "none") as truth:
        truth.begin(3)
        with pytest.raises(NoPhotosError, match="no such folder"):
            truth.of(3)
