"""The inbox beside the daemon: what fails there does not disturb recognition."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from edge_runtime.code import Embedding
from edge_runtime.daemon.loop import Daemon
from edge_runtime.daemon.watcher import Observation
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import BusyError, NotEnrolledError
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Origin
from edge_runtime.settings import Settings, parse_settings
from edge_runtime.types import Frame
from edge_runtime.unknowns.part import MOST_REQUESTS, Unknowns
from tests.support.processes import patience

LIMIT_S = 30.0


class Rig:
    """A part of the daemon, and the frames that it observes."""

    def __init__(self, gallery: Gallery, engine: FakeEngine) -> None:
        self.gallery, self.engine = gallery, engine
        self.pipeline = Pipeline(engine, gallery)
        self.observers: list[Callable[[Observation], None]] = []
        daemon = cast(Daemon, SimpleNamespace(observers=self.observers))
        self.part = Unknowns(daemon, self.pipeline, settings())
        self._now_s = time.monotonic()

    def show(self, image: Image, seconds: float = 2.5) -> None:
        """Show a picture that stands still, ten frames per second."""
        picture = Picture(image)
        result = self.pipeline.query(image)
        for _ in range(round(10 * seconds)):
            self._now_s += 0.1
            frame = Frame(picture, 0, self._now_s)
            seen = Observation(Origin("board", "door"), frame, picture, result, None)
            for observe in self.observers:
                observe(seen)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for the part's thread."""
        end_s = time.monotonic() + LIMIT_S * patience()
        while not condition():
            assert time.monotonic() < end_s
            time.sleep(0.01)


def settings(least: int = 1) -> Settings:
    return parse_settings(f"[unknowns]\nleast = {least}\n")


@pytest.fixture
def rig(gallery: Gallery, fake_engine: FakeEngine) -> Iterator[Rig]:
    made = Rig(gallery, fake_engine)
    yield made
    made.part.close(LIMIT_S)
    assert not made.part.threads[0].is_alive()


@pytest.fixture
def photo(cat: Image) -> Image:
    return cat


def test_it_collects_and_answers(rig: Rig, photo: Image) -> None:
    rig.show(photo)
    rig.until(lambda: rig.part.waiting == 1)
    (group,) = rig.part.ask(lambda inbox: inbox.listing()).result(LIMIT_S).groups
    rig.part.ask(lambda inbox: inbox.dismiss([group.thing.id], [])).result(LIMIT_S)
    assert rig.part.waiting == 0
    with pytest.raises(NotEnrolledError):
        rig.part.ask(lambda inbox: inbox.selected([99], [], 1)).result(LIMIT_S)


def test_what_resembles_the_label_unknown_is_left_alone(rig: Rig, photo: Image) -> None:
    embedding: Embedding = rig.engine.embed(photo)
    assert embedding.features is not None
    features = quantize(embedding.features)
    rig.gallery.enroll([LabeledCode(UNKNOWN, embedding.code, features=features)])
    rig.show(photo)
    rig.show(np.ascontiguousarray(photo[:, ::-1]))
    rig.until(lambda: rig.part.waiting == 1)
    (group,) = rig.part.ask(lambda inbox: inbox.listing()).result(LIMIT_S).groups
    assert group.thing.sightings == 1
    found = group.pictures[0].features
    assert found is not None and not np.array_equal(found, features)


def test_a_failing_disk_is_logged_once_and_tried_again(
    rig: Rig, photo: Image, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_runtime.unknowns.part.PAUSE_S", 0.0)

    def fill(pages: int) -> None:
        rig.part.ask(
            lambda inbox: inbox.store._connection.execute(f"PRAGMA max_page_count = {pages}")
        ).result(LIMIT_S)

    fill(1)
    with caplog.at_level(logging.WARNING):
        rig.show(photo)
        rig.until(lambda: "the disk is full" in caplog.text)
        fill(1)
        rig.show(np.ascontiguousarray(photo[::-1]))
        rig.part.ask(lambda _: None).result(LIMIT_S)
    assert caplog.text.count("the disk is full") == 1
    rig.show(np.ascontiguousarray(photo[:, ::-1]))  # the file was opened again, without the limit
    rig.until(lambda: rig.part.waiting == 1)


def test_too_many_requests_are_refused(rig: Rig) -> None:
    go_on = threading.Event()
    waiting = [rig.part.ask(lambda _: go_on.wait(LIMIT_S)) for _ in range(MOST_REQUESTS)]
    with pytest.raises(BusyError):
        for _ in range(2):  # the first of them may have begun
            waiting.append(rig.part.ask(lambda _: True))
    go_on.set()
    assert all(one.result(LIMIT_S) for one in waiting)


def test_bounds_change_at_reload(rig: Rig, photo: Image) -> None:
    rig.show(photo)
    rig.until(lambda: rig.part.waiting == 1)
    change = rig.part.prepare(settings(least=5))
    assert not change.needs_restart and change.tables == {"unknowns"}
    change.apply()
    rig.until(lambda: rig.part.waiting == 0)
    change = rig.part.prepare(msgspec.structs.replace(settings(), unknowns=None))
    assert not change.needs_restart
    change.apply()
    assert rig.part.paused
    rig.part.erase()
    assert not rig.part.path.exists()
