"""The digest of a gallery's content: the same for the same content, and for nothing else."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import GalleryDamagedError
from edge_runtime.fleet.content import (
    content_digest,
    every_label,
    every_picture,
    gallery_digest,
    pending_pictures,
    shared_content,
    shared_labels,
)
from edge_runtime.fleet.operations import Label
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.records import LabelData
from edge_runtime.position import Position
from tests.support.fleet import JPEG, enroll, open_gallery, picture

PICTURES = [picture(f"label {number % 3}", number, features=number % 2 == 0) for number in range(9)]
LABELS = [Label("label 0", '{"room": 1}', JPEG), Label("label 1", "", JPEG)]


def test_the_digest_depends_on_nothing_but_the_content() -> None:
    whole = content_digest(PICTURES, LABELS)
    mixed = random.Random(1).sample(PICTURES, len(PICTURES))
    assert content_digest(mixed, reversed(LABELS)) == whole
    assert content_digest([replace(add, source="elsewhere") for add in mixed], LABELS) == whole
    assert content_digest(PICTURES, [*LABELS, Label("label 2")]) == whole
    others = [
        content_digest(PICTURES[1:], LABELS),
        content_digest([*PICTURES, PICTURES[0]], LABELS),
        content_digest(PICTURES, LABELS[1:]),
        content_digest([replace(PICTURES[0], label="x"), *PICTURES[1:]], LABELS),
        content_digest([replace(PICTURES[0], features=None), *PICTURES[1:]], LABELS),
        content_digest([replace(PICTURES[0], position=Position(1, 2)), *PICTURES[1:]], LABELS),
        content_digest([], []),
    ]
    assert len({whole, *others}) == len(others) + 1


def test_the_digest_of_nothing_is_fixed() -> None:
    """The format is stable: a change would make every board fetch the full file."""
    assert content_digest([], []).startswith("e3b0c44298fc1c14")
    assert content_digest(PICTURES, LABELS) == (
        "904c5c8dbccb64f5dac9b6a2d371c724c91c1d0f9a6c866a50f134845de01946"
    )


def test_a_gallery_has_the_content_that_was_enrolled(gallery: Gallery) -> None:
    placed = picture("label 0", 20, at=Position(48.1, -0.0, 359.5))
    enroll(gallery, *PICTURES, placed)
    for label in LABELS:
        gallery.set_label_data(label.label, LabelData(label.payload, label.thumbnail))
    whole = [*PICTURES, placed]
    assert set(every_picture(gallery)) == set(whole)
    assert list(every_label(gallery)) == LABELS
    assert set(pending_pictures(gallery)) == set(whole)
    assert not list(shared_content(gallery))
    assert not list(shared_labels(gallery))
    assert gallery_digest(gallery) == content_digest([], [])
    digest = content_digest(every_picture(gallery), every_label(gallery))
    assert digest == content_digest(whole, LABELS)


def test_a_frame_of_a_camera_has_a_digest_of_its_own(gallery: Gallery, tmp_path: Path) -> None:
    frames = [
        LabeledCode("cat", np.array([number], np.uint64), f"camera#{number % 2}")
        for number in range(4)
    ]
    gallery.enroll(frames)
    first, second = every_picture(gallery)
    assert [len(add.codes) for add in (first, second)] == [2, 2]
    assert first.digest != second.digest
    gallery.relabel("cat", "dog")
    assert {add.digest for add in every_picture(gallery)} == {first.digest, second.digest}
    with open_gallery(tmp_path / "other.sqlite") as other:
        other.enroll([LabeledCode("cat", np.array([1], np.uint64), digest=b"short")])
        (short,) = every_picture(other)
        assert len(short.digest) == 32


@pytest.mark.parametrize("table", ["item", "feature", "position", "label", "thumbnail"])
def test_a_corrupt_row_is_reported(gallery: Gallery, table: str) -> None:
    enroll(gallery, picture("cat", 1, features=True, at=Position(1, 2)))
    gallery.set_label_data("cat", LabelData("1", JPEG))
    with sqlite3.connect(gallery.path) as connection:
        connection.execute(f"UPDATE {table} SET checksum = checksum + 1")
    connection.close()
    with pytest.raises(GalleryDamagedError, match="does not match"):
        content_digest(every_picture(gallery), every_label(gallery))
