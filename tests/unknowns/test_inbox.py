"""What the inbox keeps: within its bounds, durably, and never what was dismissed."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge_runtime.code import Embedding
from edge_runtime.database.side_file import DamagedError
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import NotEnrolledError, StorageError
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.model import ModelInfo
from edge_runtime.recognition.smoothing import Origin
from edge_runtime.settings.unknowns import UnknownsSettings
from edge_runtime.unknowns.inbox import EMPTY_S, Inbox
from edge_runtime.unknowns.sightings import Share, Sighting, vector_of

DAY_S = 86400.0
Open = Callable[..., Inbox]


class Things:
    """Sightings of things with random features; each sighting differs a little."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)
        self._known: dict[int, np.ndarray] = {}
        picture = self._random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        self.sharp = Picture(np.asarray(cv2.blur(picture, (2, 2)), np.uint8))

    def sighting(
        self, thing: int, *, varied: float = 0.3, age_s: float = 0.0, picture: Picture | None = None
    ) -> Sighting:
        if thing not in self._known:
            self._known[thing] = self._random.normal(size=64)
        features = self._known[thing] + varied * self._random.normal(size=64)
        embedding = Embedding(np.zeros(1, np.uint64), features.astype(np.float32))
        origin, taken_s = Origin("board", "door"), time.time() - age_s
        vector = vector_of(embedding, 64)
        return Sighting(vector, embedding, picture or self.sharp, origin, taken_s)


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
def model() -> ModelInfo:
    return FakeEngine().model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "g.unknowns.sqlite"


@pytest.fixture
def open_inbox(path: Path, model: ModelInfo) -> Iterator[Open]:
    opened: list[Inbox] = []

    def start(model: ModelInfo = model, **bounds: float) -> Inbox:
        inbox = Inbox(path, model, msgspec.convert({"least": 1, **bounds}, UnknownsSettings))
        opened.append(inbox)
        return inbox

    yield start
    for inbox in opened:
        inbox.store.close()


def _ids(inbox: Inbox) -> list[int]:
    return [group.thing.id for group in inbox.listing().groups]


def test_a_thing_is_shown_once_it_was_seen_often_enough(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox(least=3)
    for count in range(3):
        assert inbox.waiting == 0 and not inbox.listing().groups
        inbox.add(things.sighting(1))
        assert inbox.listing().pictures >= 1, count
    inbox.add(things.sighting(2))
    (group,) = inbox.listing().groups
    assert (group.thing.sightings, inbox.waiting) == (3, 1)
    assert [one.camera for one in group.pictures] == ["door"] * len(group.pictures)
    jpeg = inbox.store.jpeg(group.pictures[0].id)
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (320, 427, 3)


def test_the_same_view_is_kept_once(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox()
    for _ in range(5):
        inbox.add(things.sighting(1, varied=0.01))
    (group,) = inbox.listing().groups
    assert (group.thing.sightings, len(group.pictures)) == (5, 1)


def test_bad_pictures_are_not_kept(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox()
    sharp = things.sharp.image
    large = cv2.resize(sharp[:24, :32], (640, 480), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(large, (0, 0), 15)
    bad = [sharp // 8, np.full_like(sharp, 128), np.asarray(blurred, np.uint8)]
    for image in bad:
        inbox.add(things.sighting(1, picture=Picture(image)))
    assert inbox.listing().pictures == 0


def test_what_was_added_is_there_after_opening_again(open_inbox: Open, things: Things) -> None:
    first = open_inbox()
    for thing in (1, 2, 1):
        first.add(things.sighting(thing))
    before = first.listing()
    again = open_inbox()  # nothing was closed, as after a power cut
    assert [group.thing for group in again.listing().groups] == [
        group.thing for group in before.groups
    ]
    again.add(things.sighting(1))
    assert [group.thing.sightings for group in again.listing().groups] == [3, 1]


def test_only_its_user_can_read_the_file(open_inbox: Open, path: Path, things: Things) -> None:
    open_inbox().add(things.sighting(1))
    for file in path.parent.glob(f"{path.name}*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_number_of_pictures_is_bounded(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox(pictures=10)
    for count in range(30):
        inbox.add(things.sighting(count % 3))
        assert inbox.listing().pictures <= 10
    assert len(_ids(inbox)) == 3
    for thing in range(3, 20):  # new things take the place of those that were seen long ago
        inbox.add(things.sighting(thing))
        inbox.add(things.sighting(thing))
        assert inbox.listing().pictures <= 10
    assert inbox.listing().groups[-1].thing.sightings == 2
    assert len(_ids(inbox)) >= 5


def test_one_group_does_not_fill_the_inbox(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox(pictures=100)
    for _ in range(40):
        inbox.add(things.sighting(1))
    assert inbox.listing().pictures <= 12


def test_a_rare_thing_gives_way_first(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox(pictures=4, least=2)
    for _ in range(2):
        inbox.add(things.sighting(1))
    (often,) = _ids(inbox)
    for thing in range(2, 12):
        inbox.add(things.sighting(thing))
    assert _ids(inbox) == [often]


def test_the_size_of_the_file_is_bounded(open_inbox: Open, path: Path, things: Things) -> None:
    inbox = open_inbox(megabytes=1.0, size=640)
    for thing in range(40):
        inbox.add(things.sighting(thing))
        assert inbox.listing().bytes <= 1e6
    inbox.close()
    assert path.stat().st_size <= 1e6
    assert inbox.settings.pictures > 40


def test_old_pictures_are_removed(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox(days=2.0)
    inbox.add(things.sighting(1, age_s=1.9 * DAY_S))
    assert len(_ids(inbox)) == 1
    inbox.settings = msgspec.structs.replace(inbox.settings, days=1.0)
    inbox.add(things.sighting(2))
    assert [group.thing.last_s > time.time() - DAY_S for group in inbox.listing().groups] == [True]
    assert inbox.listing().pictures == 1


def test_what_was_removed_is_overwritten(open_inbox: Open, path: Path, things: Things) -> None:
    inbox = open_inbox()
    inbox.add(things.sighting(1))
    (group,) = inbox.listing().groups
    jpeg = inbox.store.jpeg(group.pictures[0].id)
    part = jpeg[len(jpeg) // 2 :][:64]
    inbox.dismiss([group.thing.id], [])
    inbox.close()
    assert part not in b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_what_was_dismissed_is_not_collected_again(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox()
    for thing in (1, 2):
        inbox.add(things.sighting(thing))
    one, other = _ids(inbox)
    inbox.dismiss([one], [])
    assert _ids(inbox) == [other]
    inbox = open_inbox()
    pictures = inbox.listing().pictures
    for _ in range(5):
        inbox.add(things.sighting(1))
    assert _ids(inbox) == [other]
    assert inbox.listing().pictures == pictures
    with pytest.raises(NotEnrolledError, match="no group"):
        inbox.dismiss([one], [])


def test_single_pictures_are_removed_from_a_group(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox()
    for _ in range(3):
        inbox.add(things.sighting(1))
    (group,) = inbox.listing().groups
    first, *rest = [picture.id for picture in group.pictures]
    inbox.dismiss([], [first])
    (group,) = inbox.listing().groups
    assert [picture.id for picture in group.pictures] == rest
    inbox.dismiss([], rest)  # all of them: the thing itself is meant
    assert not inbox.listing().groups
    inbox.add(things.sighting(1))
    assert not inbox.listing().groups
    with pytest.raises(NotEnrolledError, match="no picture"):
        inbox.dismiss([], [first])


def test_chosen_pictures_are_given_to_be_named(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox()
    for thing in (1, 1, 1, 2, 2, 3):
        inbox.add(things.sighting(thing))
    one, two, three = inbox.listing().groups
    single = [three.pictures[0].id]
    chosen = inbox.selected([one.thing.id, two.thing.id], single, 100)
    assert len(chosen) == len(one.pictures) + len(two.pictures) + 1
    few = inbox.selected([one.thing.id, two.thing.id], [], 2)
    assert {picture.thing for picture, _ in few} == {one.thing.id, two.thing.id}
    assert all(jpeg.startswith(b"\xff\xd8") for _, jpeg in chosen)
    with pytest.raises(NotEnrolledError):
        inbox.selected([99], [], 100)
    inbox.forget([one.thing.id], single)
    assert _ids(inbox) == [two.thing.id]
    inbox.add(things.sighting(1))  # it has a name now, but if it is unknown again, it comes back
    assert len(_ids(inbox)) == 2


def test_the_empty_scene_is_told(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox()
    for _ in range(4):
        inbox.add(things.sighting(1))
        inbox.count(Share("door", 0.7 * EMPTY_S, 0.7 * EMPTY_S))
        inbox.add(things.sighting(2))
        inbox.count(Share("door", 0.1 * EMPTY_S, 0.2 * EMPTY_S))
    assert [group.empty for group in inbox.listing().groups] == [True, False]
    inbox.close()
    assert [group.empty for group in open_inbox().listing().groups] == [True, False]


def test_another_model_begins_anew(open_inbox: Open, things: Things) -> None:
    open_inbox().add(things.sighting(1))
    assert not open_inbox(FakeEngine("other").model).listing().groups


def test_codes_alone_are_grouped(open_inbox: Open, model: ModelInfo, things: Things) -> None:
    inbox = open_inbox(replace(model, features=0))
    random = np.random.default_rng(3)
    for code in random.integers(0, 1 << 63, 2, dtype=np.uint64):
        for bit in range(4):
            embedding = Embedding(np.array([code ^ np.uint64(1 << bit)], np.uint64), None)
            seen = things.sighting(1)
            inbox.add(
                Sighting(
                    vector_of(embedding, 64), embedding, seen.picture, seen.origin, time.time()
                )
            )
    assert [group.thing.sightings for group in inbox.listing().groups] == [4, 4]


def test_a_full_disk_loses_nothing(open_inbox: Open, things: Things) -> None:
    inbox = open_inbox()
    inbox.add(things.sighting(1))
    connection = inbox.store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="full"):
        for thing in range(2, 9):
            inbox.add(things.sighting(thing))
    inbox.store.close()
    assert open_inbox().listing().groups


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE centroid SET mean = x'00'",
        "UPDATE centroid SET thing_id = 99",
        "UPDATE picture SET features = x'00'",
        "DROP INDEX picture_of_thing",
    ],
)
def test_damage_is_found(open_inbox: Open, path: Path, things: Things, statement: str) -> None:
    inbox = open_inbox()
    inbox.add(things.sighting(1))
    inbox.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    if statement.startswith("DROP"):
        assert not open_inbox().listing().groups  # it was renamed, and a new one begins
        assert path.with_name(path.name + ".damaged-1").exists()
    else:
        with pytest.raises(DamagedError):
            open_inbox().listing()
