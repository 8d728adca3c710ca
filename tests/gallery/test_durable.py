"""What a command has written is there after a power cut, once the command has returned."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.backup import backup, restore
from edge_runtime.gallery.exchange.common import labels_path
from edge_runtime.gallery.exchange.export import export_codes
from edge_runtime.gallery.maintenance import compact, verify
from edge_runtime.gallery.rows import Meta
from edge_runtime.gallery.snapshot.file import snapshot_path
from edge_runtime.gallery.upkeep.repair import repair
from edge_runtime.system import durable
from tests.support.power import Disk

MODEL = FakeEngine().model


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    disk = Disk(tmp_path_factory.mktemp("power"))
    try:
        yield disk
    finally:
        disk.remove()


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.sqlite"
    _fill(path)
    return path


def _fill(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        codes = [np.array([value], np.uint64) for value in range(30)]
        gallery.enroll([LabeledCode("cat", code, f"{code[0]}.jpg") for code in codes])


def _content(path: Path) -> bytes:
    """Return the codes of a gallery, or the bytes of another file."""
    if path.suffix != ".sqlite":
        return path.read_bytes()
    assert verify(path) == []
    with Gallery(path, read_only=True) as gallery:
        return repr(gallery.labels()).encode()


def _backup(gallery: Path, folder: Path) -> Path:
    backup(gallery, folder / "copy.sqlite")
    return folder / "copy.sqlite"


def _restore(gallery: Path, folder: Path) -> Path:
    restore(folder / "restored.sqlite", gallery)
    return folder / "restored.sqlite"


def _restore_into_a_new_folder(gallery: Path, folder: Path) -> Path:
    restore(folder / "new" / "one" / "restored.sqlite", gallery)
    return folder / "new" / "one" / "restored.sqlite"


def _enroll(_: Path, folder: Path) -> Path:
    _fill(folder / "filled.sqlite")
    return folder / "filled.sqlite"


def _compact(gallery: Path, folder: Path) -> Path:
    path = _restore(gallery, folder)
    with Gallery(path) as opened:
        opened.remove(ids=[1, 2])
    compact(path)
    return path


def _repair(gallery: Path, folder: Path) -> Path:
    path = _backup(gallery, folder)
    data = bytearray(path.read_bytes())
    place = data.index(b"7.jpg")
    data[place : place + 1] = b"X"
    path.write_bytes(data)
    assert len(repair(path).codes_lost) == 1
    return path


def _exported(suffix: str) -> Callable[[Path, Path], Path]:
    def export(gallery: Path, folder: Path) -> Path:
        path = folder / f"codes{suffix}"
        with Gallery(gallery, read_only=True) as opened:
            export_codes(path, Meta(MODEL.id, MODEL.bits), opened.content())
        return path

    return export


def _labels_of_an_index(gallery: Path, folder: Path) -> Path:
    return labels_path(_exported(".faiss")(gallery, folder))


def _snapshot(gallery: Path, folder: Path) -> Path:
    path = _restore(gallery, folder)
    with Gallery(path) as opened:
        opened.search(np.array([1], np.uint64))
    return snapshot_path(path)


def _configuration(_: Path, folder: Path) -> Path:
    path = folder / "edge.toml"
    command = [sys.executable, "-m", "edge_runtime", "config", "example"]
    with path.open("wb") as file:
        subprocess.run(command, stdout=file, check=True)
    return path


def _written(_: Path, folder: Path) -> Path:
    durable.make_folder(folder / "a" / "b")
    durable.write_file(folder / "a" / "b" / "file", b"content")
    return folder / "a" / "b" / "file"


def _tree(_: Path, folder: Path) -> Path:
    path = folder / "tree" / "c" / "d"
    path.mkdir(parents=True)
    (path / "file").write_text("content")
    durable.sync_tree(folder / "tree")
    durable.sync_folder(folder)
    return path / "file"


COMMANDS = {
    "backup": _backup,
    "restore": _restore,
    "restore into a new folder": _restore_into_a_new_folder,
    "enroll": _enroll,
    "compact": _compact,
    "repair": _repair,
    "export to JSON lines": _exported(".jsonl"),
    "export to numpy": _exported(".npz"),
    "export to faiss": _exported(".faiss"),
    "export to faiss, labels": _labels_of_an_index,
    "snapshot": _snapshot,
    "configuration": _configuration,
    "file": _written,
    "folder": _tree,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_written_survives_a_power_cut(
    disk: Disk, gallery: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.gallery.features.memory.SNAPSHOT_FROM", 0)
    folder = disk.place / command.replace(" ", "-")
    folder.mkdir()
    durable.sync_folder(disk.place)
    path = COMMANDS[command](gallery, folder)
    before = _content(path)
    disk.cut()
    assert path.exists()
    assert _content(path) == before


def test_the_disk_of_these_tests_forgets_what_was_not_synced(disk: Disk) -> None:
    lost, empty = disk.place / "lost", disk.place / "empty"
    empty.write_text("content")
    disk.commit()
    lost.write_text("content")
    disk.cut()
    assert not lost.exists()
    assert empty.read_bytes() == b""


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were synced, in order, without a disk that forgets."""
    paths: list[str] = []

    def fsync(descriptor: int) -> None:
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_a_file_then_its_folder_is_synced(tmp_path: Path, synced: list[str]) -> None:
    durable.write_file(tmp_path / "file", b"content")
    assert synced == [f"{tmp_path}/file.{os.getpid()}.tmp", str(tmp_path)]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_each_new_folder_is_synced_into_its_parent(tmp_path: Path, synced: list[str]) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    synced.clear()
    durable.make_folder(tmp_path / "a" / "b")
    assert synced == []


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"), durable.replacing(path) as temporary:
        temporary.write_text("half")
        raise ValueError("stop")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_cannot_sync_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        durable.write_file(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fail)
    durable.sync_folder(tmp_path)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    durable.write_file(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"content"
