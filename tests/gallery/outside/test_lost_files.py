"""A mapped file that is cut, or whose disk fails, never ends a process without a word."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import StorageError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.backup import backup
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.snapshot.file import CodesFile, load_snapshot, snapshot_path
from edge_runtime.gallery.upkeep.repair import repair
from edge_runtime.lookup.compiled import hamming
from profiles.bench.storage_faults import inject_storage_faults
from tests.support.processes import ROOT

MODEL = FakeEngine().model
COUNT = 20_000
QUERY = np.array([12345], np.uint64)
compiled = pytest.mark.skipif(hamming is None, reason="built without a C compiler")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.sqlite"
    codes = np.random.default_rng(1).integers(0, 2**64, (COUNT, 1), np.uint64)
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll([LabeledCode(f"label {n % 50}", code) for n, code in enumerate(codes)])
    assert snapshot_path(path).exists()
    return path


@compiled
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_of_the_mapped_codes_is_survived_and_said_once(
    path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    file = snapshot_path(path)
    with Gallery(path, MODEL, read_only=True) as gallery:
        expected = gallery.search(QUERY, 50)
        assert expected == gallery.search(QUERY, 50)
        os.truncate(file, int(share * file.stat().st_size))
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert gallery.search(QUERY, 50) == expected
        assert len([one for one in caplog.records if "database is read" in one.message]) == 1
    with Gallery(path, MODEL) as gallery:  # a writer makes the file again
        assert gallery.search(QUERY, 50) == expected
    assert load_snapshot(file, MODEL.id, MODEL.bits) is not None


@compiled
def test_a_cut_while_a_change_is_read_is_survived(path: Path) -> None:
    with Gallery(path, MODEL, read_only=True) as reader, Gallery(path, MODEL) as writer:
        reader.search(QUERY)
        os.truncate(snapshot_path(path), 4096)
        writer.remove(ids=[5, 6])
        writer.enroll([LabeledCode("new", QUERY)])
        assert reader.search(QUERY, 1)[0].label == "new"
        assert len(reader.within(np.array([0], np.uint64), 64)) == COUNT - 1


@compiled
def test_arrays_of_a_cut_file_read_as_zeros_and_the_file_says_so(path: Path) -> None:
    data = CodesFile.at(snapshot_path(path))
    assert data is not None
    assert data.whole()
    values = np.frombuffer(data, np.uint8)
    os.truncate(snapshot_path(path), 0)
    assert values[-4096:].tolist() == [0] * 4096
    assert not data.whole()


def test_an_unreadable_or_corrupt_file_is_named_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = snapshot_path(path)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    for content in (b"", bytes(data)):
        file.write_bytes(content)
        caplog.clear()
        with Gallery(path, MODEL, read_only=True) as gallery:
            assert len(gallery.search(QUERY, 50)) == 50
            assert len(gallery.search(QUERY, 50)) == 50
        assert [str(file) in one.message for one in caplog.records] == [True]


@pytest.mark.parametrize("kind", ["a FIFO", "a folder", "a socket"])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_something_else_in_the_place_of_a_file_is_named(path: Path, suffix: str, kind: str) -> None:
    """SQLite waited for a FIFO forever, and called a folder a lack of permission."""
    place = path.with_name(path.name + suffix)
    place.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "a FIFO":
            os.mkfifo(place)
        elif kind == "a folder":
            place.mkdir()
        else:
            server.bind(os.path.relpath(place))
        what = f"{place}: this is {kind}, not a regular file"
        for read_only in (True, False):
            with pytest.raises(StorageError, match=what):
                Gallery(path, MODEL, read_only=read_only)
        with pytest.raises(StorageError, match=what):
            repair(path)


def test_the_root_folder_is_not_a_gallery() -> None:
    with pytest.raises(StorageError, match="/: this is a folder, not a regular file"):
        Gallery(Path("/"), MODEL)


@pytest.mark.parametrize("kind", ["a FIFO", "a folder"])
def test_something_else_in_the_place_of_the_codes_file_is_passed_over(
    path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = snapshot_path(path)
    place.unlink()
    os.mkfifo(place) if kind == "a FIFO" else place.mkdir()
    with Gallery(path, MODEL) as gallery:
        assert len(gallery.search(QUERY, 50)) == 50
    assert str(place) in caplog.text
    if kind == "a FIFO":  # the new file has replaced it
        assert verify(path) == []
        return
    assert verify(path) == [f"{place.name}: this is a folder, not a regular file"]
    with pytest.raises(StorageError, match="folder"):
        repair(path)


def test_the_service_is_started_again_after_it() -> None:
    unit = (ROOT / "deploy" / "units" / "edge-runtime.service").read_text()
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    assert settings["Restart"] == "on-failure"
    assert str(StorageError.exit_code) not in settings["RestartPreventExitStatus"].split()


def test_sqlite_needs_no_shared_memory_only_if_no_other_process_may_use_the_gallery(
    tmp_path: Path,
) -> None:
    path = tmp_path / "exclusive.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.execute("PRAGMA locking_mode = EXCLUSIVE")
        assert first.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
        first.execute("CREATE TABLE t (x)")
        assert not path.with_name(path.name + "-shm").exists()
        with (
            closing(sqlite3.connect(path, timeout=0)) as second,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            second.execute("SELECT * FROM t")


@compiled
def test_other_bus_errors_end_the_process_as_before() -> None:
    script = (
        "import os, signal; from edge_runtime.lookup.compiled import hamming; "
        "hamming.watch(None); os.kill(os.getpid(), signal.SIGBUS); import time; time.sleep(1); "
        "os.kill(os.getpid(), signal.SIGBUS)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -7
    assert done.stderr == b""


@pytest.mark.parametrize("batches", [[10_000], [6_000, 3_999, 1]])
def test_the_codes_file_is_written_after_many_new_codes(tmp_path: Path, batches: list[int]) -> None:
    """By whichever process brings the number of codes that are not in it to ten thousand."""
    path, total = tmp_path / "gallery.sqlite", 0
    for round_ in range(2):
        for number, count in enumerate(batches):
            with Gallery(path, MODEL, create=True) as gallery:
                values = np.arange(total, total + count, dtype=np.uint64)[:, np.newaxis]
                gallery.enroll([LabeledCode("x", value) for value in values])
            total += count
            saved = load_snapshot(snapshot_path(path), MODEL.id, MODEL.bits)
            written = round_ * sum(batches) + (sum(batches) if number == len(batches) - 1 else 0)
            assert (0 if saved is None else saved.count) == written
    time_ns = snapshot_path(path).stat().st_mtime_ns
    with Gallery(path, MODEL) as gallery:
        gallery.enroll([LabeledCode("one", np.array([1], np.uint64))])
    assert snapshot_path(path).stat().st_mtime_ns == time_ns


def test_a_repair_of_a_cut_database_ends(path: Path) -> None:
    backup(path, path.with_name("one-file.sqlite"))
    cut = path.with_name("one-file.sqlite")
    os.truncate(cut, cut.stat().st_size // 2 // 4096 * 4096)
    assert 0 < repair(cut).codes_kept < COUNT
    assert verify(cut) == []


@pytest.mark.slow
def test_every_storage_fault_is_survived() -> None:
    assert sum(inject_storage_faults().values()) >= 200
