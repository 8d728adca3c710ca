from __future__ import annotations

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.papers.cifar10.images import BATCHES

CLASSES = ("ant", "bee", "cat")


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy pictures uint8 [3 * count, 32, 32, 3] of three colors, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(3), count)
    base = np.array([[40, 60, 200], [60, 180, 80], [200, 90, 60]])[labels]
    noisy = base[:, None, None] + rng.normal(0, 30, (len(labels), 32, 32, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of pictures without loss: 20 training and 10 test images of each of 3 classes."""
    folder = tmp_path / "tree"
    for part, count, seed in (("train", 20, 1), ("test", 10, 2)):
        for index, (picture, label) in enumerate(zip(*pictures(count, seed), strict=True)):
            place = folder / part / CLASSES[label]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{index // 3:04}.png"), picture)
    return folder


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The same images in the form of the official python version."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for part, count, seed in (("train", 20, 1), ("test", 10, 2)):
        images, labels = pictures(count, seed)
        planes = images[..., ::-1].transpose(0, 3, 1, 2).reshape(len(images), -1)
        for name, rows in zip(
            BATCHES[part], np.array_split(np.arange(len(labels)), len(BATCHES[part])), strict=True
        ):
            batch = {b"data": planes[rows], b"labels": labels[rows].tolist()}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = {b"label_names": [name.encode() for name in CLASSES]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


@pytest.fixture
def cifar10() -> Path:
    """The real set; the test is skipped where it is absent."""
    place = os.environ.get("EDGE_RUNTIME_CIFAR10", "")
    if not place:
        pytest.skip("set EDGE_RUNTIME_CIFAR10 to the folder of CIFAR-10")
    return Path(place)
