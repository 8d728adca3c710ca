"""A search returns each picture once, whatever was enrolled, removed and relabeled before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import NotEnrolledError
from edge_runtime.gallery import Gallery, LabeledCode, changes, query
from edge_runtime.gallery.features import memory
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.pictures import view_digest
from edge_runtime.gallery.snapshot import packed
from edge_runtime.gallery.snapshot.file import snapshot_path
from edge_runtime.position import Position, QueryPosition
from edge_runtime.recognition.voting import image_verdict

MODEL = FakeEngine().model
HERE = Position(52.0116, 4.3571)


def _code(value: int) -> np.ndarray:
    return np.array([value], np.uint64)


def _views(label: str, codes: list[int], name: str) -> list[LabeledCode]:
    """The codes of a photo whose file has the content `name`."""
    digest = hashlib.sha256(name.encode()).digest()
    return [
        LabeledCode(label, _code(code), name, view_digest(digest, view))
        for view, code in enumerate(codes)
    ]


def test_a_picture_is_removed_with_all_its_codes(gallery: Gallery) -> None:
    photo = gallery.enroll(_views("cat", [1, 2, 3], "cat.jpg"))
    gallery.enroll(_views("cat", [4, 5], "other.jpg"))
    frame = gallery.enroll([LabeledCode("cup", _code(n), "camera#7") for n in (6, 7)])
    plain = gallery.enroll([LabeledCode("cup", _code(8)), LabeledCode("cup", _code(9))])
    ids = [one for one in (photo[2], frame[0], plain[0]) if one is not None]
    with pytest.raises(NotEnrolledError):
        gallery.remove_together(pictures=[*ids, 999])
    assert gallery.remove_together(pictures=ids).counts == (3, 6)
    assert gallery.label_counts() == {"cat": (1, 2), "cup": (1, 1)}
    with pytest.raises(NotEnrolledError):
        gallery.remove_together(pictures=ids[:1])


def test_a_picture_is_found_once_by_its_nearest_view(gallery: Gallery) -> None:
    gallery.enroll(_views("cat", [0b111, 0b1, 0b1, 0b1111], "cat.jpg"))
    gallery.enroll(_views("dog", [0b11, 0b11], "dog.jpg"))
    gallery.enroll([LabeledCode("cup", _code(0b1111)), LabeledCode("cup", _code(0b1111))])
    found = gallery.search(_code(0), 9)
    assert [(match.id, match.distance) for match in found] == [(2, 1), (5, 2), (7, 4), (8, 4)]
    assert gallery.search(_code(0), 2) == found[:2]
    assert len(gallery.within(_code(0), 64)) == 8
    rows, distances = gallery.snapshot().nearest_rows(_code(0), 3)
    assert (rows.tolist(), distances.tolist()) == ([1, 2, 4], [1, 1, 2])


def test_an_exact_match_outvotes_many_views_of_another_picture(gallery: Gallery) -> None:
    gallery.enroll(_views("many", [0b1, 0b10, 0b100, 0b1000, 0b10000], "many.jpg"))
    gallery.enroll(_views("one", [0], "one.jpg"))
    verdict = image_verdict(gallery.search(_code(0), 5), 10)
    assert (verdict.label, verdict.confidence, verdict.distance) == ("one", 1.0, 0)
    verdict = image_verdict(gallery.search(_code(1 << 20), 5), 10)
    assert verdict.label == "one"


def test_a_picture_with_very_many_codes_does_not_hide_others(gallery: Gallery) -> None:
    frames = [LabeledCode("cat", _code(0), "camera#1") for _ in range(500)]
    gallery.enroll([*frames, LabeledCode("dog", _code(1)), LabeledCode("cup", _code(3))])
    assert [match.label for match in gallery.search(_code(0), 3)] == ["cat", "dog", "cup"]
    assert len(gallery.search(_code(0), 4)) == 3


def test_views_that_are_added_later_join_their_picture(gallery: Gallery) -> None:
    codes = [*range(6)]
    gallery.enroll(_views("cat", codes, "a.jpg")[:1])
    assert gallery.snapshot().pictures is None
    gallery.enroll(_views("dog", codes, "a.jpg")[2:])
    gallery.enroll(_views("cat", codes, "a.jpg"))
    assert len(gallery.search(_code(0), 9)) == 2
    gallery.remove(ids=[1])
    gallery.relabel("cat", "dog")
    assert len(gallery.search(_code(0), 9)) == 1
    gallery.remove(ids=[match.id for match in gallery.within(_code(0), 64)[1:]])
    assert gallery.snapshot().columns().pictures is None


@dataclass(frozen=True)
class _Row:
    label: str
    code: int
    picture: object
    """Equal for the rows of one picture, within a label."""
    digest: bytes | None = None
    position: Position | None = None


LABELS = st.sampled_from("abc")
CODES = st.lists(st.integers(0, 15), min_size=1, max_size=8)
POSITIONS = st.none() | st.builds(Position, st.floats(52.010, 52.013), st.floats(4.355, 4.359))


class PicturesModel(RuleBasedStateMachine):
    """Changes by one connection, searches by another, and a list of rows to compare with."""

    folder: Path
    number = 0
    clock = 0
    """The time of enrollment, in seconds."""

    @initialize(few=st.sampled_from([0, 1000]), views=st.sampled_from([1, 6]))
    def open(self, few: int, views: int) -> None:
        packed.FEW = few  # the number of dead rows that cause no copy
        query.VIEWS = views  # with 1, searches are repeated more often
        PicturesModel.number += 1
        self.path = self.folder / f"{self.number}.sqlite"
        self.writer = Gallery(self.path, MODEL, create=True)
        self.reader = Gallery(self.path, MODEL)
        self.rows: dict[int, _Row] = {}

    def _enroll(self, entries: list[tuple[LabeledCode, object]]) -> None:
        known = {(row.label, row.digest) for row in self.rows.values() if row.digest}
        ids = self.writer.enroll([entry for entry, _ in entries])
        for item_id, (entry, picture) in zip(ids, entries, strict=True):
            assert (item_id is None) == ((entry.label, entry.digest) in known)
            if item_id is not None:
                picture = item_id if picture is None else picture
                code = int(entry.code[0])
                self.rows[item_id] = _Row(entry.label, code, picture, entry.digest, entry.position)

    @rule(
        label=LABELS,
        name=st.sampled_from("xyz"),
        codes=CODES,
        views=st.sets(st.integers(0, 7)),
        position=POSITIONS,
    )
    def enroll_photo(
        self, label: str, name: str, codes: list[int], views: set[int], position: Position | None
    ) -> None:
        """Some or all views of a photo, some of which may be known."""
        entries = _views(label, codes, name)
        if views & {*range(len(codes))}:
            entries = [entry for view, entry in enumerate(entries) if view in views]
        self._enroll([(replace(entry, position=position), name) for entry in entries])

    @rule(label=LABELS, source=st.sampled_from(["", "f", "g"]), codes=CODES, position=POSITIONS)
    def enroll_frame(
        self, label: str, source: str, codes: list[int], position: Position | None
    ) -> None:
        entries = [LabeledCode(label, _code(code), source, None, position) for code in codes]
        picture = (self.clock, source) if source else None
        self._enroll([(entry, picture) for entry in entries])

    @rule()
    def wait(self) -> None:
        PicturesModel.clock += 1

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def remove_codes(self, data: st.DataObject) -> None:
        ids = data.draw(st.sets(st.sampled_from(sorted(self.rows)), min_size=1, max_size=4))
        self.writer.remove(ids=sorted(ids))
        for item_id in ids:
            del self.rows[item_id]

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def remove_label(self, data: st.DataObject) -> None:
        label = data.draw(st.sampled_from(sorted({row.label for row in self.rows.values()})))
        self.writer.remove(label=label)
        self.rows = {n: row for n, row in self.rows.items() if row.label != label}

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), new=LABELS)
    def relabel(self, data: st.DataObject, new: str) -> None:
        old = data.draw(st.sampled_from(sorted({row.label for row in self.rows.values()})))
        if old == new:
            return
        self.writer.relabel(old, new)
        known = {row.digest for row in self.rows.values() if row.label == new and row.digest}
        self.rows = {
            n: replace(row, label=new) if row.label == old else row
            for n, row in self.rows.items()
            if row.label != old or row.digest not in known
        }

    @rule()
    def reopen(self) -> None:
        """Close the reader, which writes the snapshot file, and begin again from that file."""
        self.reader.snapshot()
        self.reader.close()
        assert snapshot_path(self.path).exists()
        self.reader = Gallery(self.path, MODEL)

    @rule(
        value=st.integers(0, 15),
        k=st.integers(0, 12),
        labels=st.none() | st.sets(LABELS),
        near=st.none()
        | st.builds(
            QueryPosition,
            st.just(HERE),
            st.none() | st.floats(0, 300),
            st.sampled_from([1.0, 30.0, None]),
        ),
    )
    def search(
        self, value: int, k: int, labels: set[str] | None, near: QueryPosition | None
    ) -> None:
        labels = labels and {row.label for row in self.rows.values()} & labels
        found = self.reader.search(_code(value), k, labels=labels, near=near)
        nearest: dict[object, tuple[float, int]] = {}
        for item_id, row in sorted(self.rows.items()):
            score = float((row.code ^ value).bit_count())
            if labels is not None and row.label not in labels:
                continue
            if near is not None and row.position is not None:
                place = np.array([row.position.to_row()])
                if near.within_m is not None and not near.reaches(place)[0]:
                    continue
                score += float(near.penalties(place)[0])
            picture = (row.label, row.picture)
            nearest[picture] = min(nearest.get(picture, (np.inf, 0)), (score, item_id))
        expected = sorted(nearest.values())[:k]
        assert [match.id for match in found] == [item_id for _, item_id in expected]
        assert [match.label for match in found] == [self.rows[n].label for _, n in expected]

    @invariant()
    def pictures_are_those_of_the_rows(self) -> None:
        if not hasattr(self, "rows"):
            return
        firsts: dict[object, int] = {}
        for item_id, row in sorted(self.rows.items()):
            firsts.setdefault((row.label, row.picture), item_id)
        expected = [firsts[row.label, row.picture] for _, row in sorted(self.rows.items())]
        columns = self.reader.snapshot().columns()
        assert columns.ids.tolist() == sorted(self.rows)
        pictures = columns.ids if columns.pictures is None else columns.pictures
        assert pictures.tolist() == expected
        assert (columns.pictures is None) == (len(firsts) == len(self.rows))

    def teardown(self) -> None:
        if hasattr(self, "reader"):
            self.reader.close()
            self.writer.close()
            assert verify(self.path) == []


class _Clock:
    """Stands in for `datetime`: the second is set by the test."""

    @classmethod
    def now(cls, _zone: object) -> _Clock:
        return cls()

    def isoformat(self, *, timespec: str) -> str:
        return f"second {PicturesModel.clock:06}"


@pytest.fixture
def _patched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(memory, "SNAPSHOT_FROM", 0)
    monkeypatch.setattr(packed, "FEW", packed.FEW)
    monkeypatch.setattr(query, "VIEWS", query.VIEWS)
    monkeypatch.setattr(changes, "datetime", _Clock)
    monkeypatch.setattr(PicturesModel, "folder", tmp_path, raising=False)
    yield


@pytest.mark.usefixtures("_patched")
def test_random_operations_match_a_list_of_rows() -> None:
    run_state_machine_as_test(
        PicturesModel, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )
