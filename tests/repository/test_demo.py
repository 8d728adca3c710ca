"""The parts of the demo: a reproducible film, and a score that can fail."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from demo.clip import FRAMES_PER_SCENE, Segment, film
from demo.scenes import SCENES, photo_folder, read_scene, write_enrollment_photos
from demo.score import SETTLING, SceneObserver
from edge_runtime.daemon.watcher import Observation
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.recognition.smoothing import Origin
from edge_runtime.types import Frame, Match, QueryResult, Recognition, Verdict


def test_scenes_are_real_photographs_and_some_are_never_enrolled(tmp_path: Path) -> None:
    write_enrollment_photos(tmp_path)
    labels = {scene.label for scene in SCENES if scene.label}
    assert {folder.name for folder in tmp_path.iterdir()} == labels
    assert sum(scene.label is None for scene in SCENES) >= 3
    for scene in SCENES:
        assert (photo_folder() / scene.photo).is_file()
        image = read_scene(scene.photo)
        assert image.std() > 5


def test_the_film_is_reproducible_and_always_moves(cat: Image) -> None:
    one = list(film(cat, 6, np.random.default_rng(3)))
    two = list(film(cat, 6, np.random.default_rng(3)))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(one)]
    assert min(steps) > 3


def _scene_is_correct(answers: Sequence[str | None], expected: str | None) -> bool:
    observer = SceneObserver([Segment(expected, "", 0, FRAMES_PER_SCENE - 1)])
    image = np.zeros((2, 2, 3), np.uint8)
    for number in range(FRAMES_PER_SCENE):
        label = answers[number]
        recognition = Recognition(label, 1.0, 1.0, 0.0) if label else None
        result = QueryResult(Verdict(label, 1.0, 0), (Match(1, "x", 0),), {"fit": 1.0})
        frame = Frame(Picture(image), number, 0.0)
        observer(Observation(Origin(), frame, frame.picture, result, recognition))
    (score,) = observer.scores()
    return score.correct


def test_the_score_can_fail() -> None:
    rest = FRAMES_PER_SCENE - SETTLING
    assert _scene_is_correct([None] * SETTLING + ["cat"] * rest, "cat")
    assert not _scene_is_correct(["cat"] * SETTLING + ["dog"] * rest, "cat")
    assert not _scene_is_correct(["cat"] * FRAMES_PER_SCENE, None)
    assert _scene_is_correct([None] * FRAMES_PER_SCENE, None)
    assert not _scene_is_correct([None] * FRAMES_PER_SCENE, "cat")
