"""Folders with files that are not photos, cannot be read, or would block: named, never a hang."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.batch.tree import Found, find
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.errors import NoPhotosError, PhotoError
from edge_runtime.gallery import Gallery
from edge_runtime.image.decode import read_photo
from edge_runtime.image.photo_files import (
    FOREIGN_SUFFIXES,
    JPEG_SUFFIXES,
    MOST_BYTES,
    SUFFIXES,
    search_photos,
)
from edge_runtime.labeled_files import labeled_files
from tests.support.processes import run_cli


@pytest.fixture
def photos(tmp_path: Path, cat: np.ndarray) -> Path:
    """A folder with one photo under the label "cat"."""
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "photos" / "cat" / "a.jpg"), cat)
    return tmp_path / "photos"


def _faults(folder: Path) -> list[str]:
    found = search_photos(folder)
    assert [path.name for path in found.photos] == ["a.jpg"]
    assert all(fault.remedy and str(fault).isprintable() for fault in found.faults)
    return [str(fault).removeprefix(f"{folder}/") for fault in found.faults]


def test_the_command_names_everything_and_ends_with_3(photos: Path, tmp_path: Path) -> None:
    os.mkfifo(photos / "cat" / "fifo.jpg")
    with (photos / "cat" / "film.png").open("wb") as file:
        file.truncate(20 << 30)
    for name in ("b.heic", "c.HEIC", "d.avif"):
        (photos / "cat" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    shutil.copy(photos / "cat" / "a.jpg", photos / "cat" / "e.jfif")
    (photos / ".trash" / "old").mkdir(parents=True)
    shutil.copy(photos / "cat" / "a.jpg", photos / ".trash" / "old" / "x.jpg")
    done = run_cli("enroll", "--gallery", tmp_path / "g.sqlite", photos)
    assert done.returncode == 3, done.stderr
    assert "under 1 label" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 4, done.stderr
    for what in (
        "fifo.jpg: this is a FIFO, not a regular file",
        "film.png: too large for a photo: 21.5 GB",
        "b.heic: .heic files are not supported, and 1 more (convert them to JPEG first)",
        "d.avif: .avif files are not supported (convert them to JPEG first)",
    ):
        assert sum(what in line for line in lines) == 1, done.stderr


def test_single_files_that_would_block(photos: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        for path, what in (
            (tmp_path / "fifo.jpg", "a FIFO"),
            (tmp_path / "s.jpg", "this is a socket, not a regular file"),
            (Path("/dev/zero"), "a device"),
            (tmp_path, "a folder"),
        ):
            with pytest.raises(PhotoError, match=what):
                read_photo(path)
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(PhotoError, match="no such file"):
        read_photo(tmp_path / "gone.jpg")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(PhotoError, match="too large for a photo"):
        read_photo(tmp_path / "a.jpg")


def test_a_folder_that_cannot_be_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seam, since permissions do not bind root."""
    (photos / "dog").mkdir()
    (photos / "bird").mkdir()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name in ("dog", "bird"):
            number = errno.EACCES if Path(path).name == "dog" else errno.EIO
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    faults = _faults(photos)
    assert len(faults) == 2
    assert any(each.startswith("dog: permission denied") for each in faults)
    assert any(each.startswith("bird: the disk reported an I/O error") for each in faults)
    (photos / "cat" / "a.jpg").unlink()
    with pytest.raises(NoPhotosError, match=r"no readable photos: .*\(1 more faults\)"):
        search_photos(photos)


def test_every_label_of_the_others_is_enrolled(photos: Path, gallery: Gallery) -> None:
    os.mkfifo(photos / "cat" / "b.jpg")
    files = labeled_files(photos)
    result = enroll_photos(FakeEngine(), gallery, files.photos, EnrollOptions())
    assert (result.pictures_added, len(files.faults)) == (1, 1)


@pytest.mark.parametrize(
    "name",
    [
        *(".git", ".Trash-1000", ".thumbnails", ".Trashes", ".fseventsd", ".picasaoriginals"),
        *("$RECYCLE.BIN", "RECYCLER", "Recycled", "System Volume Information", "$WinREAgent"),
        *("FOUND.000", "found.017", "msdownld.tmp", "lost+found", "LOST.DIR", "__MACOSX"),
        *("Network Trash Folder", "Temporary Items", "@eaDir", "@Recycle", "@__thumb", "#recycle"),
        *("@Recently-Snapshot", "@SynoResource", "@tmp", "#snapshot"),
    ],
)
def test_hidden_and_trash_folders_are_no_labels(photos: Path, name: str) -> None:
    for folder in (photos / name / "deep", photos / "cat" / name):
        folder.mkdir(parents=True)
        shutil.copy(photos / "cat" / "a.jpg", folder / "x.jpg")
    shutil.copy(photos / "cat" / "a.jpg", photos / "cat" / "._a.jpg")
    assert _faults(photos) == []
    assert labeled_files(photos).labels == {"cat"}


def test_a_hidden_folder_that_the_user_names_is_read(photos: Path) -> None:
    hidden = photos.rename(photos.with_name(".photos"))
    assert _faults(hidden) == []


@pytest.mark.parametrize("suffix", [*sorted(SUFFIXES - {".tif", ".tiff"}), ".JFIF", ".Jpe"])
def test_names_of_photos(tmp_path: Path, cat: np.ndarray, suffix: str) -> None:
    lower = suffix.lower()
    kind = ".jpg" if lower in JPEG_SUFFIXES else ".bmp" if lower == ".dib" else lower
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(kind, cat)[1].tobytes())
    assert search_photos(tmp_path).photos == [path]
    assert read_photo(path).shape == cat.shape


@pytest.mark.parametrize("suffix", sorted(FOREIGN_SUFFIXES))
def test_photos_that_are_not_decoded_are_named(photos: Path, suffix: str) -> None:
    for number in range(3):
        (photos / "cat" / f"{number}{suffix.upper()}").write_bytes(b"x")
    (fault,) = _faults(photos)
    assert fault.startswith(f"cat/0{suffix.upper()}: {suffix} files are not supported, and 2 more")


def test_images_without_the_name_of_a_photo_are_named(photos: Path, tmp_path: Path) -> None:
    picture = (photos / "cat" / "a.jpg").read_bytes()
    tiff = cv2.imencode(".tiff", np.zeros((40, 40, 3), np.uint8))[1].tobytes()
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    for name, content in (
        *(("IMG_1", picture), ("IMG_2", heic), ("a.jpg_original", picture), ("b.unheard", tiff)),
        *(("notes.txt", b"BMW and other cars"), ("c.xmp", b"<x:xmpmeta>"), ("empty", b"")),
    ):
        (photos / "cat" / name).write_bytes(content)
    os.mkfifo(photos / "cat" / "fifo")
    assert [each.partition(" (")[0] for each in _faults(photos)] == [
        "cat/IMG_1: this is an image, but its name is not that of a photo, and 1 more",
        "cat/a.jpg_original: this is an image, but its name is not that of a photo",
        "cat/b.unheard: this is an image, but its name is not that of a photo",
    ]
    found = list(find((photos,), None))
    assert sum(isinstance(each, Found) for each in found) == 1
    assert sum("not that of a photo" in str(each) for each in found) == 3


def test_links(photos: Path) -> None:
    (photos / "loop").symlink_to(photos)
    (photos / "cat" / "gone.jpg").symlink_to("nowhere")
    faults = sorted(_faults(photos))
    assert [each.partition(" (")[0] for each in faults] == [
        "cat/gone.jpg: no such file or folder",
        "loop: this is a link to a folder, which is not followed",
    ]


def test_folders_without_photos(tmp_path: Path) -> None:
    with pytest.raises(NoPhotosError, match="no photos in this folder"):
        search_photos(tmp_path)
    (tmp_path / "a.heic").touch()
    with pytest.raises(NoPhotosError, match=r"a\.heic: \.heic files are not supported"):
        search_photos(tmp_path)
    with pytest.raises(NoPhotosError, match="no such folder"):
        search_photos(tmp_path / "none")
