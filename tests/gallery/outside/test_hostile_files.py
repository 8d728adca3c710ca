"""Hostile and damaged databases are refused before use; a check or a restore changes no backup."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_runtime.cli.gallery.files import repair as repair_command
from edge_runtime.database.soundness import expected_schema
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EdgeRuntimeError, GalleryDamagedError, GalleryError, StorageError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.backup import backup, restore
from edge_runtime.gallery.maintenance import compact, verify
from edge_runtime.gallery.rows import Meta, checksum_of
from edge_runtime.gallery.schema.steps import STEPS
from edge_runtime.gallery.soundness import MOST_ID, MOST_LABEL_ID
from edge_runtime.gallery.upkeep.repair import repair
from tests.support.processes import ROOT

MODEL = FakeEngine().model
OLD = [ROOT / "tests/data/gallery-schema1.sqlite", ROOT / "tests/data/gallery-schema2.sqlite"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll(
            [LabeledCode("cat", np.array([n], np.uint64), f"{n}.jpg") for n in range(20)]
        )
    return path


def _label(number: int, name: str) -> str:
    checksum = checksum_of((number, name, ""))
    return f"INSERT INTO label VALUES ({number}, '{name}', '', {checksum});"


def _item(number: int, label_id: int) -> str:
    row = (number, label_id, bytes(8), "", None, "2026-01-01T00:00:00+00:00")
    values = f"{number}, {label_id}, x'{bytes(8).hex()}', '', NULL, '{row[-1]}'"
    return f"INSERT INTO item VALUES ({values}, {checksum_of(row)});"


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
HOSTILE = {
    "a label id of 2^40": _label(2**40, "far") + _item(21, 2**40),
    "a label id above the limit": _label(MOST_LABEL_ID + 1, "far") + _item(21, MOST_LABEL_ID + 1),
    "a negative label id": _label(-1, "far") + _item(21, -1),
    "an item id of 2^63 - 1": _item(2**63 - 1, 1),
    "a negative item id": _item(-5, 1),
    "a next id of 2^63 - 1": "UPDATE sqlite_sequence SET seq = 9223372036854775807;",
    "a next id that is text": "UPDATE sqlite_sequence SET seq = 'many';",
    "a generation of 2^63 - 1": "INSERT INTO generation VALUES (9223372036854775807, x'00');",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM label; END;",
    "a trigger on a label": "CREATE TRIGGER t BEFORE UPDATE ON label BEGIN SELECT 1; END;",
    "an endless view": "ALTER TABLE meta RENAME TO m;"
    f"CREATE VIEW meta AS {ENDLESS} SELECT 'a' || i AS key, 'b' AS value FROM n;",
    "an unused view": f"CREATE VIEW v AS {ENDLESS} SELECT i FROM n;",
    "an endless label view": "ALTER TABLE label RENAME TO l;"
    f"CREATE VIEW label AS {ENDLESS} SELECT i AS id, 'x' AS name, '' AS payload, 1 AS checksum "
    "FROM n;",
    "a generated column": "ALTER TABLE label ADD COLUMN g AS (zeroblob(100000000));",
    "an added column": "ALTER TABLE item ADD COLUMN g DEFAULT 1;",
    "another table": "CREATE TABLE more (a);",
    "another index": "CREATE INDEX more ON item (source);",
    "an index over an expression": "CREATE INDEX more ON item (abs(label_id));",
    "a missing table": "DROP TABLE refit;",
    "a missing index": "DROP INDEX item_picture;",
    "a virtual table": "CREATE VIRTUAL TABLE v USING fts5(a);",
    "an unknown schema": "PRAGMA user_version = -1;",
    "schema 0": "PRAGMA user_version = 0;",
    "an older schema than its tables": "PRAGMA user_version = 1;",
}


def _spoil(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executescript(script)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_database_is_refused_before_it_is_used(path: Path, kind: str) -> None:
    _spoil(path, HOSTILE[kind])
    for read_only in (True, False):
        with pytest.raises(GalleryDamagedError, match="corrupt, or not a gallery file") as caught:
            Gallery(path, MODEL, read_only=read_only)
        assert "\n" not in str(caught.value)
    assert len(verify(path)) == 1
    with pytest.raises(GalleryDamagedError):
        compact(path)
    with pytest.raises(GalleryDamagedError):
        backup(path, path.with_name("copy.sqlite"))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_backup_changes_nothing(path: Path, kind: str) -> None:
    hostile = path.with_name("hostile.sqlite")
    backup(path, hostile)
    _spoil(hostile, HOSTILE[kind])
    before = _files(path.parent)
    with pytest.raises(GalleryDamagedError, match=r"hostile\.sqlite"):
        restore(path, hostile)
    assert {name: data for name, data in _files(path.parent).items() if name in before} == before
    assert verify(path) == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_repair_keeps_the_sound_rows_or_refuses(path: Path, kind: str) -> None:
    _spoil(path, HOSTILE[kind])
    try:
        repair(path)
    except EdgeRuntimeError:
        assert verify(path)
    else:
        assert verify(path) == []
        with Gallery(path, MODEL) as gallery:
            assert gallery.labels().get("cat") == 20
            assert gallery.enroll([LabeledCode("cat", np.array([7], np.uint64))])


@pytest.mark.parametrize("name", ["a/b", "line\nbreak", "\x1b[31m", "\u202e", "", "x" * 200, " "])
def test_a_label_that_cannot_be_enrolled_is_not_read(path: Path, name: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        row = (1, name, "")
        connection.execute("UPDATE label SET name = ?, checksum = ?", (name, checksum_of(row)))
    assert verify(path) == ["label 1: the checksum does not match"]
    with Gallery(path, MODEL) as gallery, pytest.raises(GalleryDamagedError):
        gallery.search(np.array([1], np.uint64))


@pytest.mark.parametrize(
    ("column", "value"), [("source", b"x"), ("digest", 5), ("digest", "text"), ("created_at", b"")]
)
def test_a_value_of_another_type_is_damage(path: Path, column: str, value: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = "id, label_id, code, source, digest, created_at"
        connection.execute(f"UPDATE item SET {column} = ? WHERE id = 3", (value,))
        row = connection.execute(f"SELECT {columns} FROM item WHERE id = 3").fetchone()
        connection.execute("UPDATE item SET checksum = ? WHERE id = 3", (checksum_of(row),))
    assert verify(path) == ["code 3: the checksum does not match"]
    with Gallery(path, MODEL) as gallery, pytest.raises(GalleryDamagedError):
        gallery.search(np.array([1], np.uint64))


@pytest.mark.parametrize(
    ("key", "value"), [("model_id", "\x1b]0;x"), ("model_id", "f" * 65), ("bits", "-5")]
)
def test_a_model_that_cannot_exist_is_refused(path: Path, key: str, value: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        meta = {"model_id": MODEL.id, "bits": str(MODEL.bits), key: value}
        checksum = checksum_of(Meta(meta["model_id"], int(meta["bits"])))
        for name, text in {**meta, "checksum": str(checksum)}.items():
            connection.execute("UPDATE meta SET value = ? WHERE key = ?", (text, name))
    with pytest.raises(GalleryDamagedError, match="not the id of a model"):
        Gallery(path, read_only=True)


def test_the_last_id_is_never_exceeded(path: Path) -> None:
    _spoil(path, f"UPDATE sqlite_sequence SET seq = {MOST_ID - 1};")
    with Gallery(path, MODEL) as gallery:
        for count in (2, 1000):
            with pytest.raises(GalleryError, match="no id is left"):
                gallery.enroll([LabeledCode("cat", np.array([9], np.uint64))] * count)
    assert verify(path) == []


def test_the_derived_schema_is_the_one_that_sqlite_makes() -> None:

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for number, step in enumerate(STEPS, 1):
            for statement in step:
                connection.execute(statement)
            rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
            assert frozenset(rows) == expected_schema(STEPS[:number]), f"schema {number}"


def test_the_settings_that_trust_nothing_are_on(path: Path) -> None:
    with Gallery(path, MODEL, read_only=True) as gallery:
        for pragma, value in (("trusted_schema", 0), ("cell_size_check", 1), ("mmap_size", 0)):
            found = gallery._connection.execute(f"PRAGMA {pragma}").fetchone()
            assert found in ((value,), None), pragma


@pytest.mark.parametrize("old", OLD)
def test_verify_and_restore_leave_a_backup_of_an_older_version_as_it_is(
    old: Path, tmp_path: Path
) -> None:
    source, folder = tmp_path / "old" / "copy.sqlite", tmp_path / "new"
    source.parent.mkdir()
    folder.mkdir()
    shutil.copy(old, source)
    before, time_ns = source.read_bytes(), source.stat().st_mtime_ns
    assert verify(source) == []
    assert restore(folder / "gallery.sqlite", source) is None
    assert (source.read_bytes(), source.stat().st_mtime_ns) == (before, time_ns)
    assert verify(folder / "gallery.sqlite") == []
    with Gallery(folder / "gallery.sqlite", read_only=True) as gallery:
        assert gallery.labels()
    assert sorted(file.name for file in folder.iterdir() if "tmp" in file.name) == []


def _owner(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_what_replaces_a_gallery_keeps_its_mode(path: Path, mode: int) -> None:
    copy = path.with_name("copy.sqlite")
    path.chmod(mode)
    backup(path, copy)
    assert _owner(copy)[2] == mode
    copy.chmod(0o444)
    restore(path, copy)
    assert _owner(path)[2] == mode
    path.write_bytes(b"rubbish" * 100)
    assert restore(path, copy)
    assert _owner(path)[2] == mode
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE item SET source = 'changed' WHERE id = 3")
    assert repair(path).codes_lost == [3]
    assert _owner(path)[2] == mode


@as_root
def test_what_root_restores_or_repairs_stays_that_of_the_service(path: Path) -> None:
    copy, service = path.with_name("copy.sqlite"), (12345, 23456)
    backup(path, copy)
    os.chown(path, *service)
    path.chmod(0o640)
    for spoil in (b"", b"rubbish" * 100):
        if spoil:
            path.write_bytes(spoil)
        restore(path, copy)
        assert _owner(path) == (*service, 0o640)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE item SET source = 'changed' WHERE id = 3")
    repair(path)
    assert _owner(path) == (*service, 0o640)
    folder = path.with_name("service")
    folder.mkdir()
    os.chown(folder, *service)
    restore(folder / "gallery.sqlite", copy)
    assert _owner(folder / "gallery.sqlite")[:2] == service


def test_a_restore_that_would_change_the_owner_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = path.with_name("copy.sqlite")
    backup(path, copy)
    path.write_bytes(b"rubbish" * 100)
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    with pytest.raises(StorageError, match="would belong to user 4711"):
        restore(path, copy)
    assert path.read_bytes() == b"rubbish" * 100
    assert not path.with_name(path.name + ".damaged").exists()


def test_the_command_that_repairs_says_one_line(path: Path) -> None:
    _spoil(path, HOSTILE["a trigger"])
    result = CliRunner().invoke(repair_command, ["--gallery", str(path)], standalone_mode=False)
    assert isinstance(result.exception, GalleryDamagedError)
    assert "may run code ('trigger' 't')" in str(result.exception)
