"""A SQLite file that the daemon can do without: created, trusted, renamed when damaged."""

from __future__ import annotations

import logging
import sqlite3
import stat
from pathlib import Path

import pytest

from edge_runtime.database.side_file import MOST_ASIDE, DamagedError, SideFile
from edge_runtime.errors import StorageError

STEPS = (("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",),)
APPLICATION_ID = 0x45525458


def _file(path: Path, steps: tuple[tuple[str, ...], ...] = STEPS) -> SideFile:
    return SideFile(path, APPLICATION_ID, steps)


def _write(path: Path, text: str) -> None:
    connection = _file(path).open()
    connection.execute("INSERT INTO note (text) VALUES (?)", (text,))
    connection.close()


def _read(path: Path) -> list[str]:
    connection = _file(path).open_to_read()
    assert connection is not None
    texts = [text for (text,) in connection.execute("SELECT text FROM note ORDER BY id")]
    connection.close()
    return texts


def test_a_file_is_created_for_its_user_alone_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "notes.sqlite"
    assert _file(path).open_to_read() is None
    _write(path, "one")
    _write(path, "two")
    assert _read(path) == ["one", "two"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection = _file(path).open()
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def _overwrite(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be one" * 100)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _add_trigger(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON note BEGIN DELETE FROM note; END")


def _replace_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE note")
        connection.execute("CREATE VIEW note AS SELECT 1 AS id, 'x' AS text")


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 77")


@pytest.mark.parametrize("damage", [_overwrite, _cut, _add_trigger, _replace_table, _newer])
def test_a_damaged_file_is_renamed_with_one_line(
    damage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notes.sqlite"
    _write(path, "old")
    assert callable(damage)
    damage(path)
    content = path.read_bytes()
    with pytest.raises(DamagedError):
        _file(path).open_to_read()
    with caplog.at_level(logging.WARNING):
        _write(path, "new")
    assert _read(path) == ["new"]
    assert path.with_name("notes.sqlite.damaged-1").read_bytes() == content
    assert len(caplog.messages) == 1
    assert "a new one begins" in caplog.messages[0]


def test_few_damaged_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    for _ in range(MOST_ASIDE + 2):
        _write(path, "old")
        _overwrite(path)
    _write(path, "new")
    assert len(list(tmp_path.glob("*.damaged-*"))) == MOST_ASIDE


def test_the_database_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE precious (x)")
    content = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        _file(path).open()
    assert path.read_bytes() == content
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="not a regular file"):
        _file(tmp_path / "folder").open()


def test_an_older_schema_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    _write(path, "old")
    newer = _file(path, (*STEPS, ("CREATE TABLE more (id INTEGER PRIMARY KEY)",)))
    connection = newer.open()
    assert connection.execute("SELECT count(*) FROM more").fetchone() == (0,)
    connection.close()
    connection = newer.open()  # and it is what the steps make
    assert connection.execute("SELECT text FROM note").fetchone() == ("old",)
    connection.close()
