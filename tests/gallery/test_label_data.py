"""Payloads, thumbnails and positions in a gallery; merging, and migration of older schemas."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import THUMBNAIL_SIDE, EnrollOptions, enroll_photos, thumbnail_of
from edge_runtime.errors import (
    GalleryDamagedError,
    GalleryModelMismatchError,
    InputError,
    NotEnrolledError,
    StorageError,
)
from edge_runtime.gallery import Gallery, LabelData, LabeledCode
from edge_runtime.gallery.backup import backup
from edge_runtime.gallery.exchange.export import export_codes
from edge_runtime.gallery.exchange.reading import import_codes
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.rows import Meta
from edge_runtime.gallery.schema import SCHEMA_VERSION
from edge_runtime.gallery.snapshot.file import snapshot_path
from edge_runtime.gallery.upkeep.repair import repair
from edge_runtime.image import Image
from edge_runtime.position import Position
from tests.support.processes import ROOT

MODEL = FakeEngine().model
META = Meta(MODEL.id, MODEL.bits)
OLD = {version: ROOT / "tests" / "data" / f"gallery-schema{version}.sqlite" for version in (1, 2)}
"""Galleries by schema version, each written by the release that introduced the schema."""
LAST_ID = {1: 6, 2: 7}
"""Highest id that was assigned. In schema 2, the code with id 7 was removed."""
JPEG = b"\xff\xd8\xff\xe0 a picture"


def _item(value: int, label: str = "cat", position: Position | None = None) -> LabeledCode:
    return LabeledCode(
        label, np.array([value], np.uint64), f"{value}.jpg", bytes([value]), position
    )


def _fill(gallery: Gallery) -> None:
    gallery.enroll(
        [
            _item(1, position=Position(52.01, 4.36, 90)),
            _item(2),
            _item(3, "dog", Position(-0.0, 0)),
        ],
        {"cat": LabelData('{"floor": 3}', JPEG)},
    )


def _positions(gallery: Gallery) -> dict[int, Position | None]:
    return {number: item.position for number, item in gallery.content().codes}


def test_label_data_and_positions_are_stored(gallery: Gallery) -> None:
    _fill(gallery)
    assert gallery.label_data("cat") == LabelData('{"floor": 3}', JPEG)
    assert gallery.label_data("dog") == LabelData()
    gallery.set_thumbnail("dog", JPEG + b"!")
    gallery.set_payload("dog", "[1, 2]")
    with Gallery(gallery.path, MODEL, read_only=True) as other:
        assert other.label_data("dog") == LabelData("[1, 2]", JPEG + b"!")
        assert _positions(other) == {1: Position(52.01, 4.36, 90), 2: None, 3: Position(0, 0)}
    gallery.set_thumbnail("dog", b"")
    assert gallery.label_data("dog") == LabelData("[1, 2]")
    gallery.enroll([_item(9)], {"cat": LabelData("[]", JPEG + b"later")})
    assert gallery.label_data("cat") == LabelData(
        '{"floor": 3}', JPEG
    )  # the first thumbnail is kept
    assert verify(gallery.path) == []


def test_removing_codes_removes_their_positions_and_label_data(gallery: Gallery) -> None:
    _fill(gallery)
    gallery.remove(ids=[1])
    gallery.remove(label="dog")
    assert _positions(gallery) == {2: None}
    gallery.remove(label="cat")
    with sqlite3.connect(gallery.path) as connection:
        for table in ("thumbnail", "position", "label", "item"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()


def test_relabel_keeps_positions_and_label_data(gallery: Gallery) -> None:
    _fill(gallery)
    gallery.relabel("cat", "tom")
    assert gallery.label_data("tom") == LabelData('{"floor": 3}', JPEG)
    gallery.relabel("tom", "dog")
    assert gallery.label_data("dog") == LabelData('{"floor": 3}', JPEG)
    assert _positions(gallery) == {1: Position(52.01, 4.36, 90), 2: None, 3: Position(0, 0)}
    assert gallery.labels() == {"dog": 3}


def test_invalid_label_data_is_refused(gallery: Gallery) -> None:
    _fill(gallery)
    for data, what in (
        (LabelData(payload="{floor: 3}"), "cat: the payload is not valid JSON"),
        (LabelData(payload="[" * 100_000), "cat: the payload is not valid JSON"),
        (LabelData(payload='"\udce9"'), "cat: the payload is not valid JSON"),
        (LabelData(thumbnail=b"GIF89a"), "cat: the thumbnail is not a JPEG"),
        (LabelData(thumbnail=JPEG + bytes(70_000)), "must not exceed 65536 bytes, got 70014"),
    ):
        with pytest.raises(InputError, match=what):
            gallery.set_label_data("cat", data)
        with pytest.raises(InputError, match=what):
            gallery.enroll([_item(50)], {"cat": data})
    assert gallery.label_data("cat") == LabelData('{"floor": 3}', JPEG)
    assert len(gallery.content().codes) == 3
    with pytest.raises(NotEnrolledError):
        gallery.set_payload("owl", "{}")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE thumbnail SET jpeg = x'ffd8ff00'", "label 1"),
        ("UPDATE position SET latitude = 53 WHERE item_id = 1", "code 1"),
        ("UPDATE position SET latitude = 530 WHERE item_id = 1", "code 1"),
        ("UPDATE position SET heading = 'x' WHERE item_id = 3", "code 3"),
    ],
)
def test_a_modified_thumbnail_or_position_is_detected_and_dropped_by_repair(
    gallery: Gallery, change: str, what: str
) -> None:
    _fill(gallery)
    with sqlite3.connect(gallery.path) as connection:
        connection.execute(change)
    connection.close()
    assert [finding.split(":")[0] for finding in verify(gallery.path)] == [what]
    with pytest.raises(GalleryDamagedError, match=what):
        gallery.content()
    gallery.close()
    assert repair(gallery.path).codes_kept == 3
    assert verify(gallery.path) == []
    with Gallery(gallery.path, MODEL) as repaired:
        lost = {"label 1": (True, 2), "code 1": (False, 1), "code 3": (False, 1)}[what]
        assert (
            repaired.label_data("cat").thumbnail == b"",
            sum(map(bool, _positions(repaired).values())),
        ) == (lost)


@pytest.mark.parametrize("suffix", [".jsonl", ".npz"])
def test_export_and_import_preserve_label_data_and_positions(gallery: Gallery, suffix: str) -> None:
    _fill(gallery)
    file = gallery.path.with_suffix(suffix)
    export_codes(file, META, gallery.content())
    with Gallery(gallery.path.with_name("other.sqlite"), MODEL, create=True) as other:
        other.enroll(*import_codes(file, META))
        assert other.content().label_data == gallery.content().label_data
        assert _positions(other) == _positions(gallery)


@pytest.mark.parametrize("suffix", [".jsonl", ".npz", ".faiss"])
def test_a_failed_export_leaves_no_files(gallery: Gallery, small_disk: Path, suffix: str) -> None:
    codes = np.random.default_rng(1).integers(0, 2**64, (100_000, 1), dtype=np.uint64)
    gallery.enroll(LabeledCode("cat", code) for code in codes)
    before = sorted(small_disk.iterdir())
    with pytest.raises(StorageError, match=r"all\.[a-z]+: the disk is full"):
        export_codes(small_disk / f"all{suffix}", META, gallery.content())
    assert sorted(small_disk.iterdir()) == before


def test_an_export_in_format_1_can_be_imported(gallery: Gallery) -> None:
    file = gallery.path.with_suffix(".jsonl")
    head = {"edge_runtime_gallery": 1, **META._asdict()}
    file.write_text(f'{json.dumps(head)}\n{{"label": "x", "code": "{"00" * 8}"}}\n')
    codes, label_data = import_codes(file, META)
    assert [(item.label, item.position) for item in codes] == [("x", None)]
    assert label_data == {}


def test_merge(gallery: Gallery, tmp_path: Path) -> None:
    _fill(gallery)
    with Gallery(tmp_path / "other.sqlite", MODEL, create=True) as other:
        other.enroll([_item(1), _item(7, "owl")], {"cat": LabelData("[]")})
        assert other.merge(gallery).codes_added == 2  # the first code of the cat was known
        assert other.labels() == {"cat": 2, "dog": 1, "owl": 1}
        assert other.label_data("cat") == LabelData("[]", JPEG)
        assert other.merge(gallery).codes_added == 0
        assert verify(other.path) == []
    with (
        Gallery(tmp_path / "foreign.sqlite", FakeEngine("other").model, create=True) as foreign,
        pytest.raises(GalleryModelMismatchError, match=r"gallery\.sqlite: its codes were made by"),
    ):
        foreign.merge(gallery)


def test_the_snapshot_file_stores_positions(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.gallery.features.memory.SNAPSHOT_FROM", 0)
    gallery.enroll([_item(5)])
    gallery.search(np.zeros(1, np.uint64))
    _fill(gallery)  # adds the first positions after rows without any
    expected = gallery.snapshot().columns().positions
    gallery.close()
    assert snapshot_path(gallery.path).exists()
    assert verify(gallery.path) == []
    with Gallery(gallery.path, MODEL) as again:
        positions = again.snapshot().positions
        assert positions is not None
        np.testing.assert_array_equal(positions, expected)


# -- older schemas --------------------------------------------------------------------------------


def _content(path: Path, **options: bool) -> tuple[dict[str, int], str, list[int]]:
    with Gallery(path, MODEL, **options) as gallery:
        found = gallery.search(np.zeros(1, np.uint64), 99)
        return gallery.labels(), gallery.payload("dog"), sorted(match.id for match in found)


AS_WRITTEN = ({"cat": 4, "dog": 1}, '{"floor": 3}', [1, 3, 4, 5, 6])


OLD_POSITIONS = {1: {}, 2: {1: Position(52.01, 4.36, 90), 3: Position(0, 0)}}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("schema", OLD)
def test_an_older_gallery_is_migrated(tmp_path: Path, schema: int, read_only: bool) -> None:
    path = tmp_path / "g.sqlite"
    shutil.copy(OLD[schema], path)
    assert _content(path, read_only=read_only) == AS_WRITTEN
    assert verify(path) == []
    with Gallery(path, MODEL) as gallery:
        positions = {
            number: position
            for number, position in _positions(gallery).items()
            if position is not None
        }
        assert positions == OLD_POSITIONS[schema]
        again, new = gallery.enroll([_item(4), _item(9, position=Position(1, 2))])
        assert again is None
        assert new == LAST_ID[schema] + 1
        gallery.set_thumbnail("cat", JPEG)
    assert verify(path) == []


@pytest.mark.parametrize("schema", OLD)
def test_an_older_gallery_on_a_read_only_disk_is_read_unchanged(
    small_disk: Path, schema: int
) -> None:
    path = small_disk / "g.sqlite"
    shutil.copy(OLD[schema], path)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    before = path.read_bytes()
    assert _content(path, read_only=True) == AS_WRITTEN
    assert verify(path) == []
    assert path.read_bytes() == before


MIGRATE = """
import os, sys
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery
os.write(1, b"x")
Gallery(sys.argv[1], FakeEngine().model).close()
"""
KILLS = int(os.environ.get("EDGE_RUNTIME_KILLS", "20"))


@pytest.mark.slow
def test_kill_9_during_the_migration_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    migrated = 0
    for kill in range(KILLS):
        for file in tmp_path.iterdir():
            file.unlink()
        shutil.copy(OLD[1 + kill // 2 % 2], path)
        child = subprocess.Popen([sys.executable, "-c", MIGRATE, path], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read(1)
        try:  # one of ten runs to its end, even on a busy machine
            child.wait(None if kill % 10 == 9 else 0.0003 * (kill % 40))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with sqlite3.connect(path) as connection:
            migrated += connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        connection.close()
        assert _content(path) == AS_WRITTEN
        assert verify(path) == []
    assert migrated > 0


def test_a_file_with_a_wrong_schema_version_is_corrupt(gallery: Gallery, tmp_path: Path) -> None:
    _fill(gallery)
    wrong = tmp_path / "wrong.sqlite"
    backup(gallery.path, wrong)
    with sqlite3.connect(wrong) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    for read_only in (False, True):
        with pytest.raises(GalleryDamagedError):
            Gallery(wrong, MODEL, read_only=read_only)


# -- enrollment -----------------------------------------------------------------------------------


def test_the_first_photo_of_a_label_becomes_its_thumbnail(gallery: Gallery, cat: Image) -> None:
    folder = gallery.path.parent
    cv2.imwrite(str(folder / "1.png"), cat)
    cv2.imwrite(str(folder / "2.png"), cat[::-1])
    photos = [("cat", folder / "1.png"), ("cat", folder / "2.png"), ("dog", folder / "2.png")]
    enroll_photos(FakeEngine(), gallery, photos[:1])
    enroll_photos(FakeEngine(), gallery, photos[1:2])
    enroll_photos(FakeEngine(), gallery, photos[2:], EnrollOptions(thumbnails=False))
    small = cv2.imdecode(np.frombuffer(gallery.thumbnail("cat"), np.uint8), cv2.IMREAD_COLOR)
    assert small is not None
    assert max(small.shape[:2]) == THUMBNAIL_SIDE
    assert gallery.thumbnail("cat") == thumbnail_of(cat)
    assert gallery.thumbnail("dog") == b""
