"""Real video files of real photographs, and a gallery of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.scenes import read_scene
from edge_runtime.engine import Engine
from edge_runtime.enroll import enroll_photos
from edge_runtime.gallery import Gallery
from tests.support.media.clips import write_clip

SCENES = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "moon.png")


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of hand-held films of two seconds: one per enrolled scene, and a stranger."""
    folder = tmp_path_factory.mktemp("films")
    for photo in (*SCENES, "grass.png"):
        write_clip(folder / f"{Path(photo).stem}.mp4", photo, frames=40)
    return folder


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A gallery of two photos of each scene, under the name of its file."""
    path = tmp_path_factory.mktemp("known") / "gallery.sqlite"
    with Gallery(path, engine.model, create=True) as gallery:
        for photo in SCENES:
            image = read_scene(photo)
            height, width = image.shape[:2]
            crop = image[: int(0.85 * height), : int(0.85 * width)].copy()
            label = Path(photo).stem
            enroll_photos(engine, gallery, [(label, image), (label, crop)])
    return path
