"""Sounds in the gallery: stored, moved, merged, backed up, repaired, and migrated to."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import InputError, NotEnrolledError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.backup import backup, restore
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.schema import SCHEMA_VERSION
from edge_runtime.gallery.sound.rows import MOST_SOUNDS
from edge_runtime.gallery.upkeep.repair import repair
from tests.support.processes import ROOT

DATA = ROOT / "tests" / "data"


def _sound(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**32, 200, dtype=np.uint32)


def _enroll(gallery: Gallery, *labels: str) -> None:
    for number, label in enumerate(labels):
        code = np.array([7 * number + len(label)], np.uint64)
        gallery.enroll([LabeledCode(label, code, digest=label.encode())])


def _heard(gallery: Gallery) -> list[tuple[str, int]]:
    return sorted((each.label, int(each.fingerprints[0])) for each in gallery.sounds())


def test_a_sound_is_stored_once(gallery: Gallery) -> None:
    _enroll(gallery, "cat", "dog")
    before = gallery.generation()
    assert gallery.add_sound("cat", _sound(1), "cat.mp4")
    assert gallery.generation() == before + 1
    assert not gallery.add_sound("cat", _sound(1), "again.mp4")
    assert gallery.generation() == before + 1
    assert gallery.add_sound("dog", _sound(1))
    (cat, dog) = gallery.sounds()
    assert (cat.label, cat.source, dog.label) == ("cat", "cat.mp4", "dog")
    assert np.array_equal(cat.fingerprints, _sound(1))
    assert gallery.stats().sounds == 2
    assert verify(gallery.path) == []


def test_what_cannot_be_stored_is_refused(gallery: Gallery) -> None:
    _enroll(gallery, "cat")
    for wrong in (np.zeros(0, np.uint32), np.zeros(4, np.int64), np.zeros((2, 2), np.uint32)):
        with pytest.raises(InputError, match="fingerprints must be uint32"):
            gallery.add_sound("cat", wrong)  # type: ignore[arg-type]
    with pytest.raises(NotEnrolledError):
        gallery.add_sound("dog", _sound(1))
    assert gallery.sounds() == []


def test_a_label_keeps_its_latest_sounds(gallery: Gallery) -> None:
    _enroll(gallery, "cat")
    for seed in range(MOST_SOUNDS + 3):
        gallery.add_sound("cat", _sound(seed))
    kept = [int(each.fingerprints[0]) for each in gallery.sounds()]
    assert kept == [int(_sound(seed)[0]) for seed in range(3, MOST_SOUNDS + 3)]


def test_sounds_go_with_their_label_and_come_back(gallery: Gallery) -> None:
    _enroll(gallery, "cat", "dog")
    gallery.add_sound("cat", _sound(1))
    gallery.add_sound("cat", _sound(2))
    gallery.add_sound("dog", _sound(2))
    whole = _heard(gallery)
    removed = gallery.remove_together(["cat"])
    assert {label for label, _ in _heard(gallery)} == {"dog"}
    gallery.put_back(removed)
    assert _heard(gallery) == whole
    renamed = gallery.relabel("cat", "tom")
    assert {label for label, _ in _heard(gallery)} == {"tom", "dog"}
    gallery.put_back(renamed)
    assert _heard(gallery) == whole
    merged = gallery.relabel("cat", "dog")
    assert _heard(gallery) == sorted(("dog", int(_sound(seed)[0])) for seed in (1, 2))
    assert verify(gallery.path) == []
    gallery.put_back(merged)
    assert _heard(gallery) == whole
    gallery.remove(label="dog")
    assert {label for label, _ in _heard(gallery)} == {"cat"}


def test_backup_restore_and_merge_keep_sounds(
    gallery: Gallery, tmp_path: Path, fake_engine: FakeEngine
) -> None:
    _enroll(gallery, "cat")
    gallery.add_sound("cat", _sound(1), "cat.mp4")
    backup(gallery.path, tmp_path / "copy.sqlite")
    gallery.remove(label="cat")
    restore(gallery.path, tmp_path / "copy.sqlite")
    assert _heard(gallery) == [("cat", int(_sound(1)[0]))]
    with Gallery(tmp_path / "other.sqlite", fake_engine.model, create=True) as other:
        _enroll(other, "dog")
        other.merge(gallery)
        other.merge(gallery)
        assert _heard(other) == _heard(gallery)


def test_a_corrupt_sound_is_found_left_out_and_repaired(gallery: Gallery) -> None:
    _enroll(gallery, "cat", "dog")
    gallery.add_sound("cat", _sound(1))
    gallery.add_sound("dog", _sound(2))
    path = gallery.path
    gallery.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE sound SET value = zeroblob(800) WHERE id = 1")
    connection.close()
    assert verify(path) == ["label 1: the checksum of a sound does not match"]
    with Gallery(path, read_only=True) as opened:
        assert [label for label, _ in _heard(opened)] == ["dog"]
    assert repair(path).codes_kept == 2
    assert verify(path) == []
    with Gallery(path, read_only=True) as opened:
        assert [label for label, _ in _heard(opened)] == ["dog"]
        assert len(opened.labels()) == 2


@pytest.mark.parametrize("version", [1, 2])
def test_a_gallery_of_an_older_version_is_migrated(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.sqlite"
    shutil.copy(DATA / f"gallery-schema{version}.sqlite", path)
    before = path.read_bytes()
    assert verify(path) == []
    assert path.read_bytes() == before
    with Gallery(path) as gallery:
        labels = gallery.labels()
        assert gallery.sounds() == []
        assert gallery.stats().sounds == 0
        assert gallery.add_sound(next(iter(labels)), _sound(1))
        assert gallery.labels() == labels
    assert verify(path) == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


def test_an_older_gallery_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    shutil.copy(DATA / "gallery-schema2.sqlite", path)
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()
    with Gallery(path, read_only=True) as gallery:
        assert gallery.sounds() == []
