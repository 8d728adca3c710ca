"""Only what is unknown and stands still is taken, and not too often."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edge_runtime.code import Embedding
from edge_runtime.daemon.watcher import Observation
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.recognition.smoothing import Origin
from edge_runtime.types import Frame, QueryResult, Recognition, Verdict
from edge_runtime.unknowns.sightings import AGAIN_S, Share, Sighting, Watch

FPS = 10
WINDOW = 5
Show = Callable[..., None]


class Stage:
    """Shows frames to a watch, ten per second."""

    def __init__(self) -> None:
        self.taken: list[Sighting] = []
        self.shares: list[Share] = []
        self.busy = False
        self.settled = False
        self._watch = Watch(64, lambda: WINDOW, self._take, lambda _: self.settled)
        self._random = np.random.default_rng(1)
        self._now_s = 1000.0
        self._picture = Picture(np.zeros((48, 64, 3), np.uint8))

    def _take(self, what: Sighting | Share) -> bool:
        if not self.busy:
            (self.taken if isinstance(what, Sighting) else self.shares).append(what)  # type: ignore[arg-type]
        return not self.busy

    def embedding(self) -> Embedding:
        """Return that of another scene."""
        features = self._random.normal(size=64).astype(np.float32)
        return Embedding(np.zeros(1, np.uint64), features)

    def show(
        self,
        seconds: float,
        embedding: Embedding | None = None,
        label: str | None = None,
        region: str | None = None,
    ) -> None:
        """Show a scene that stands still, or one that moves if `embedding` is None."""
        for _ in range(round(seconds * FPS)):
            self._now_s += 1 / FPS
            shown = embedding or self.embedding()
            result = QueryResult(Verdict(label, 1.0, 0), (), embedding=shown)
            current = Recognition(label, 1.0, 1.0, 0.0) if label else None
            frame = Frame(self._picture, 0, self._now_s)
            origin = Origin("board", "door", region)
            self._watch.observe(Observation(origin, frame, self._picture, result, current))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_still_unknown_scene_is_taken_once(stage: Stage) -> None:
    scene = stage.embedding()
    stage.show(0.9, scene)
    assert not stage.taken
    stage.show(AGAIN_S / 2, scene)
    assert len(stage.taken) == 1
    assert np.isclose(np.linalg.norm(stage.taken[0].vector), 1)
    stage.show(AGAIN_S / 2 + 1, scene)
    assert len(stage.taken) == 2  # it is still there after a minute


def test_what_moves_or_is_known_is_not_taken(stage: Stage) -> None:
    stage.show(10)
    stage.show(10, stage.embedding(), "cat")
    assert not stage.taken


def test_what_must_not_be_named_is_not_taken(stage: Stage) -> None:
    stage.settled = True
    stage.show(10, stage.embedding())
    assert not stage.taken


def test_it_waits_until_the_label_has_left(stage: Stage) -> None:
    scene = stage.embedding()
    stage.show(3, scene, "cat")
    stage.show(0.4, scene)
    assert not stage.taken
    stage.show(1, scene)
    assert len(stage.taken) == 1


def test_many_scenes_are_taken_at_a_bounded_rate(stage: Stage) -> None:
    for _ in range(10):
        stage.show(1.2, stage.embedding())
    assert 5 <= len(stage.taken) <= 6


def test_regions_are_watched_apart(stage: Stage) -> None:
    left, right = stage.embedding(), stage.embedding()
    for _ in range(15):
        stage.show(0.1, left, region="left")
        stage.show(0.1, right, region="right")
    assert {one.origin.region for one in stage.taken} == {"left", "right"}


def test_nothing_is_lost_if_the_thread_is_busy(stage: Stage) -> None:
    scene = stage.embedding()
    stage.busy = True
    stage.show(5, scene)
    stage.busy = False
    stage.show(0.1, scene)
    assert len(stage.taken) == 1


def test_it_reports_how_long_a_scene_was_shown(stage: Stage) -> None:
    stage.show(11, stage.embedding())
    stage.show(1, stage.embedding(), "cat")
    (share,) = stage.shares
    assert share.view == "door"
    assert 9 < share.still_s < share.total_s < 11.2
