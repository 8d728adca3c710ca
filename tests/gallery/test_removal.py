"""Removing labels and pictures together, putting them back, and the lists of pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import EnrollOptions, enroll_image, enroll_photos
from edge_runtime.errors import LabelError, NotEnrolledError
from edge_runtime.gallery import Gallery, LabelData, LabeledCode
from edge_runtime.gallery.exchange.export import export_codes, export_lines
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.rows import Meta, checksum_of, read_items
from edge_runtime.image import Image
from edge_runtime.position import Position

JPEG = b"\xff\xd8\xff\xe0 a picture"
KEEP = EnrollOptions(keep_pictures=True)


def _fill(gallery: Gallery, noise: Callable[[int], Image]) -> None:
    engine = FakeEngine()
    photos = [(f"label {seed % 3}", noise(seed)) for seed in range(7)]
    enroll_photos(engine, gallery, photos, KEEP)
    frame = EnrollOptions(source="camera#5")
    enroll_image(engine, gallery, "label 1", noise(20), frame)
    # Another picture with this source: frames have no digest, so the time tells them apart.
    with gallery._writing():
        gallery._connection.execute(
            "UPDATE item SET created_at = '2020-02-02T02:02:02+00:00' WHERE digest IS NULL"
        )
    _mend_checksums(gallery)
    enroll_image(engine, gallery, "label 1", noise(21), frame)
    gallery.enroll(
        [LabeledCode("label 2", np.array([7], np.uint64), position=Position(52.01, 4.36, 90))]
    )
    gallery.set_label_data("label 1", LabelData('{"floor": 3}', JPEG))


def _mend_checksums(gallery: Gallery) -> None:
    with gallery._writing():
        for row in list(read_items(gallery._connection)):
            gallery._connection.execute(
                "UPDATE item SET checksum = ? WHERE id = ?", (checksum_of(row[:-1]), row.id)
            )


def _facts(gallery: Gallery) -> Any:
    """Everything but ids, in an order that does not depend on them."""
    content = gallery.content()
    codes = sorted(
        repr(
            (
                item.label,
                item.code.tolist(),
                item.source,
                item.digest,
                item.position,
                None if item.features is None else item.features.tobytes(),
                item.picture,
            )
        )
        for _, item in content.codes
    )
    pictures = {
        label: sorted(picture[1:] for picture in gallery.pictures(label))
        for label in gallery.labels()
    }
    return codes, content.label_data, gallery.label_counts(), pictures


def test_what_was_removed_can_be_put_back(gallery: Gallery, noise: Any) -> None:
    _fill(gallery, noise)
    before = _facts(gallery)
    listed = gallery.pictures("label 1")
    assert [picture.source for picture in listed].count("camera#5") == 2
    assert [(picture.codes, picture.kept) for picture in listed] == [(6, True)] * 2 + [
        (6, False)
    ] * 2
    alone = gallery.pictures("label 0")
    removed = gallery.remove_together(["label 1"], [alone[0].id, alone[0].id + 3, listed[0].id])
    assert removed.counts == (5, 30)
    assert removed.size_bytes > 30 * 500
    assert sorted(gallery.labels()) == ["label 0", "label 2"]
    assert len(gallery.pictures("label 0")) == len(alone) - 1
    assert gallery.put_back(removed) == 30
    assert _facts(gallery) == before
    assert gallery.put_back(removed) == 12  # frames have no digest that tells that they are there
    assert verify(gallery.path) == []


def test_a_label_that_lost_its_last_picture_gets_its_data_back(
    gallery: Gallery, noise: Any
) -> None:
    _fill(gallery, noise)
    before = _facts(gallery)
    removed = gallery.remove_together(
        pictures=[picture.id for label in gallery.labels() for picture in gallery.pictures(label)]
    )
    assert gallery.labels() == {}
    gallery.put_back(removed)
    assert _facts(gallery) == before


def test_all_or_nothing_is_removed(gallery: Gallery, noise: Any) -> None:
    _fill(gallery, noise)
    before = _facts(gallery)
    for labels, pictures in ((["label 1", "no"], []), (["label 1"], [999]), ([], [1, 2**62])):
        with pytest.raises(NotEnrolledError):
            gallery.remove_together(labels, pictures)
    assert gallery.remove_together().counts == (0, 0)
    assert _facts(gallery) == before


def test_a_rename_onto_a_label_must_be_meant(gallery: Gallery, noise: Any) -> None:
    _fill(gallery, noise)
    with pytest.raises(LabelError, match="label 2: this label exists already"):
        gallery.relabel("label 1", "label 2", merge=False)
    assert gallery.relabel("label 1", "other", merge=False).counts.pictures == 4
    assert gallery.relabel("other", "label 2").counts.pictures == 4


@pytest.mark.parametrize("new", ["label 2", "label 0", "other"])
def test_a_rename_or_merge_can_be_taken_back(gallery: Gallery, noise: Any, new: str) -> None:
    _fill(gallery, noise)
    photos = [("label 1", noise(2)), ("label 2", noise(1)), ("label 2", noise(4))]
    enroll_photos(FakeEngine(), gallery, photos, KEEP)  # under both labels
    gallery.set_label_data("label 0", LabelData("[1]", b""))
    before = _facts(gallery)
    moved = gallery.relabel("label 1", new)
    assert "label 1" not in gallery.labels()
    assert gallery.label_data(new).thumbnail
    codes = gallery.put_back(moved)
    assert codes == gallery.labels()["label 1"]
    assert _facts(gallery) == before
    assert verify(gallery.path) == []


def test_taking_a_merge_back_leaves_what_came_later(gallery: Gallery, noise: Any) -> None:
    _fill(gallery, noise)
    moved = gallery.relabel("label 1", "label 2")
    with pytest.raises(NotEnrolledError):
        gallery.put_back(replace(moved, new="nobody"))
    gallery.set_payload("label 2", '"mine"')
    enroll_image(FakeEngine(), gallery, "label 2", noise(30))
    (gone,) = {each.id for each in gallery.pictures("label 2")} & {moved.ids[0]}
    gallery.remove_together(pictures=[gone])
    assert gallery.put_back(moved) == 18
    assert len(gallery.pictures("label 1")) == 3
    assert len(gallery.pictures("label 2")) == 4
    assert gallery.payload("label 2") == '"mine"'
    assert gallery.payload("label 1") == '{"floor": 3}'
    gallery.remove(label="label 2")
    with pytest.raises(NotEnrolledError):
        gallery.put_back(moved)
    assert sorted(gallery.labels()) == ["label 0", "label 1"]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=12))
def test_a_merge_and_its_undo_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("merge") / "g.sqlite"
    with Gallery(path, FakeEngine().model, create=True) as gallery:
        for label, picture in pictures:
            code = np.array([1000 * picture + 7], np.uint64)
            digest = bytes([picture]) * 32
            data = {str(label): LabelData(f"[{label}]" if picture % 2 else "", JPEG)}
            gallery.enroll([LabeledCode(str(label), code, "photo", digest)], data)
        before = _facts(gallery)
        for old in gallery.labels():
            for new in {"0", "1", "2", "new"} - {old}:
                gallery.put_back(gallery.relabel(old, new))
                assert _facts(gallery) == before


def test_the_streamed_export_is_that_of_the_command(
    gallery: Gallery, noise: Any, tmp_path: Any
) -> None:
    _fill(gallery, noise)
    file = tmp_path / "all.jsonl"
    export_codes(file, Meta(gallery.model_id, gallery.bits), gallery.content())
    streamed = io.BytesIO()
    assert export_lines(gallery.path, streamed) == len(gallery.content().codes)
    assert streamed.getvalue() == file.read_bytes()
