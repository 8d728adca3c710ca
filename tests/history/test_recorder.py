"""Recording on a thread: what is stored when the disk, the file or the process fails."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import BusyError, StorageError
from edge_runtime.history import recorder as module
from edge_runtime.history.archive import Archive
from edge_runtime.history.file import Mark, history_file
from edge_runtime.history.recorder import Recorder
from edge_runtime.image.lazy_jpeg import JpegPicture, Picture
from edge_runtime.settings.history import HistorySettings
from edge_runtime.types import Event
from tests.support.processes import ROOT

PICTURE = Picture(np.full((48, 64, 3), 90, np.uint8))


def _event(number: int, label: str = "cat") -> Event:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return Event("enter", label, 0.9, 3, number, now, now, 12.5, 1.0, f"{number:020x}", "board")


def _until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


@contextmanager
def _recording(path: Path, **settings: object) -> Iterator[tuple[Recorder, Archive]]:
    recorder = Recorder(path, HistorySettings(**settings), retry_s=0.05)  # type: ignore[arg-type]
    try:
        yield recorder, Archive(recorder)
    finally:
        recorder.close(10)
        assert not recorder.thread.is_alive()


def _labels(archive: Archive) -> list[str]:
    return [one["label"] for one in archive.newest({}, 200, "")[0]]


def test_events_are_stored_in_order_with_their_pictures(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    with _recording(path, snapshot_side=64) as (recorder, archive):
        recorder.add(_event(1, "a"), PICTURE)
        recorder.add(_event(2, "b"), None)
        recorder.add(_event(3, "c"), JpegPicture(b"damaged"))
        _until(lambda: len(_labels(archive)) == 3)
        assert _labels(archive) == ["c", "b", "a"]
        shown = [bool(archive.snapshot(_event(number).id)) for number in (1, 2, 3)]
        assert shown == [True, False, False]
        counts = archive.counts()
        assert (counts.events, counts.stored, counts.dropped) == (3, 3, 0)
        assert counts.bytes > 0
    recorder = Recorder(path, HistorySettings())
    recorder.add(_event(4, "d"), PICTURE)
    recorder.close(10)  # what waits is stored first
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (4,)


def test_a_disk_that_fails_is_reported_once_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file stands where the folder must be, as with any path that cannot be written."""
    caplog.set_level(logging.INFO)
    (tmp_path / "folder").touch()
    with _recording(tmp_path / "folder" / "h.sqlite") as (recorder, archive):
        _until(lambda: recorder.fault)
        for number in range(1, 20):
            recorder.add(_event(number, f"thing {number}"), PICTURE)
        with pytest.raises(StorageError):
            archive.mark(_event(1).id, None)
        time.sleep(0.3)  # several attempts
        assert len([line for line in caplog.messages if "nothing is stored" in line]) == 1
        assert len(caplog.messages) == 1
        (tmp_path / "folder").unlink()
        _until(lambda: len(_labels(archive)) == 19)
        assert not recorder.fault
        assert caplog.messages[1:] == ["history: storing again"]
        assert archive.counts().dropped == 0


def test_waiting_events_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 20)
    monkeypatch.setattr(module, "MOST_ENCODED", 3)
    (tmp_path / "folder").touch()
    with _recording(tmp_path / "folder" / "h.sqlite") as (recorder, archive):
        _until(lambda: recorder.fault)
        for number in range(100):
            recorder.add(_event(number, f"thing {number}"), PICTURE)
            _until(lambda: not recorder._new)
        assert len(recorder._entries) <= 20
        (tmp_path / "folder").unlink()
        _until(lambda: _labels(archive))
        assert _labels(archive) == [f"thing {number}" for number in range(99, 79, -1)]
        assert archive.counts().dropped == 80
        pictures = [bool(archive.snapshot(_event(number).id)) for number in range(80, 100)]
        assert pictures == [False] * 17 + [True] * 3


@pytest.mark.parametrize("damage", ["before the start", "while it runs"])
def test_a_damaged_file_is_replaced(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "h.sqlite"
    garbage = b"SQLite format 3\x00" + b"garbage " * 5000
    if damage == "before the start":
        path.write_bytes(garbage)
    with _recording(path) as (recorder, archive):
        recorder.add(_event(1, "a"), PICTURE)
        _until(lambda: recorder.counts().stored == 1)
        if damage == "while it runs":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            with path.open("r+b") as file:  # all pages but the first
                file.seek(4096)
                file.write(b"\xff" * (path.stat().st_size - 4096))
            _until(lambda: _fails(archive))
        recorder.add(_event(2, "b"), PICTURE)
        _until(lambda: list(tmp_path.glob("h.sqlite.damaged-1")))
        recorder.add(_event(3, "c"), PICTURE)
        _until(lambda: not _fails(archive) and _labels(archive)[:1] == ["c"])
        assert sum("a new one begins" in line for line in caplog.messages) == 1
        assert recorder.thread.state().restarts == 0


def _fails(archive: Archive) -> bool:
    try:
        archive.days()
    except StorageError:
        return True
    return False


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE precious (x)")
        connection.commit()
    content = path.read_bytes()
    with _recording(path) as (recorder, _):
        recorder.add(_event(1), PICTURE)
        _until(lambda: "another program" in recorder.fault)
    assert path.read_bytes() == content


def test_marks_are_stored_in_turn(tmp_path: Path) -> None:
    with _recording(tmp_path / "h.sqlite") as (recorder, archive):
        recorder.add(_event(1), None)
        assert recorder.mark(_event(1).id, Mark("dog"))
        stored = archive.find(_event(1).id)
        assert stored is not None
        assert stored.wrong == Mark("dog")
        assert not archive.unmark("ff")
    with pytest.raises(BusyError):
        archive.mark(_event(1).id, None)


@pytest.mark.parametrize("snapshots", [True, False])
def test_snapshots_are_optional(snapshots: bool, tmp_path: Path) -> None:
    with _recording(tmp_path / "h.sqlite", snapshots=snapshots) as (recorder, archive):
        recorder.add(_event(1), PICTURE)
        _until(lambda: _labels(archive))
        assert bool(archive.snapshot(_event(1).id)) == snapshots


WRITER = """
import sys, time
from pathlib import Path
from tests.history.test_recorder import PICTURE, _event
from edge_runtime.history.recorder import Recorder
from edge_runtime.settings.history import HistorySettings

recorder = Recorder(Path(sys.argv[1]), HistorySettings(megabytes=1, snapshot_side=64))
first = int(sys.argv[2])
for number in range(first, first + 100_000):
    recorder.add(_event(number), PICTURE)
    while recorder.counts().stored <= number - first:
        time.sleep(0.0005)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_what_was_stored_survives_a_kill(tmp_path: Path) -> None:
    path, first = tmp_path / "h.sqlite", 1
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert child.stdout
        last = first
        for line in child.stdout:
            last = int(line)
            if last >= first + 30:
                child.kill()  # in the middle of a commit, or just before or after
        child.wait()
        child.stdout.close()
        with closing(history_file(path).open()) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            stored = [int(text, 16) for (text,) in connection.execute("SELECT id FROM event")]
            assert last in stored
            assert set(range(first, last + 1)) <= set(stored)
            pictures = "SELECT count(*) FROM event LEFT JOIN picture ON picture.id = picture"
            assert connection.execute(f"{pictures} WHERE jpeg IS NULL").fetchone() == (0,)
        assert not list(tmp_path.glob("*.damaged-*"))
        first = last + 1000
