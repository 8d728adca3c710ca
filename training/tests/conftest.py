from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.photo_sets import Photo

ROOT = Path(__file__).resolve().parents[2]


def shared(name: str) -> Path:
    """A folder of the shared photo sets; the test is skipped, naming it, where it is absent."""
    base = Path(os.environ.get("EDGE_RUNTIME_DATA", ROOT.parent / "shared" / "data"))
    if not (base / name / "manifest.csv").exists():
        pytest.skip(f"photo set {name} is not in {base}; set EDGE_RUNTIME_DATA to its parent")
    return base / name


@pytest.fixture
def tiny() -> Path:
    return shared("tiny")


@pytest.fixture(autouse=True)
def _in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the pixel cache lies below the working folder


def draw_photos(folder: Path, labels: int = 3, each: int = 6) -> None:
    """A folder per label with pictures that a small network can tell apart."""
    rng = np.random.default_rng(3)
    for label in range(labels):
        base = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        place = folder / f"label{label}"
        place.mkdir(parents=True, exist_ok=True)
        for index in range(each):
            noisy = np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)
            picture = cv2.resize(noisy, (80, 64), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(place / f"{index:03}.png"), picture)


def photo(name: str, label: str, split: str = "", source: str = "set") -> Photo:
    return Photo(Path(name), name, label, split, source)
