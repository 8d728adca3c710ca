"""The demo's own parts: a film that can be trusted, and a score that can fail."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from demo.clip import FRAMES_PER_SCENE, Segment, film
from demo.scenes import SCENES, photo_folder, read_scene, write_enrolment_photos
from demo.score import SETTLING, Witness
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.types import Frame, Match, QueryResult, Recognition, Verdict


def test_scenes_are_real_photographs_and_some_are_never_enrolled(tmp_path: Path) -> None:
    write_enrolment_photos(tmp_path)
    labels = {scene.label for scene in SCENES if scene.label}
    assert {folder.name for folder in tmp_path.iterdir()} == labels
    assert sum(scene.label is None for scene in SCENES) >= 3
    for scene in SCENES:
        assert (photo_folder() / scene.photo).is_file()
        image = read_scene(scene.photo)
        assert image.std() > 5


def test_the_film_is_the_same_each_time_and_never_stands_still(cat: Image) -> None:
    one = list(film(cat, 6, np.random.default_rng(3)))
    two = list(film(cat, 6, np.random.default_rng(3)))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(one)]
    assert min(steps) > 3


def _watch(said: list[str | None], truth: str | None) -> bool:
    witness = Witness([Segment(truth, "", 0, FRAMES_PER_SCENE - 1)])
    image = np.zeros((2, 2, 3), np.uint8)
    for number in range(FRAMES_PER_SCENE):
        label = said[number]
        held = Recognition(label, 1.0, 0.0) if label else None
        result = QueryResult(Verdict(label, 1.0, 0), (Match(1, "x", 0),), {"fit": 1.0})
        witness(Frame(Picture(image), number, 0.0), result, held)
    (score,) = witness.scores()
    return score.right


def test_the_score_can_fail() -> None:
    rest = FRAMES_PER_SCENE - SETTLING
    assert _watch([None] * SETTLING + ["cat"] * rest, "cat")
    assert not _watch(["cat"] * SETTLING + ["dog"] * rest, "cat")
    assert not _watch(["cat"] * FRAMES_PER_SCENE, None)
    assert _watch([None] * FRAMES_PER_SCENE, None)
    assert not _watch([None] * FRAMES_PER_SCENE, "cat")
