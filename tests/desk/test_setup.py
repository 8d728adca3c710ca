"""`desk init` and `rotate` as commands: keys, passphrases, lost keys, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.gallery import Gallery
from tests.support.fleet import MODEL, enroll, picture
from tests.support.processes import run_cli
from tests.support.web import write_secret


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    path = tmp_path / "mine.sqlite"
    with Gallery(path, MODEL, create=True) as opened:
        enroll(opened, picture("cat", 1))
    return path


def _init(folder: Path, gallery: Path, *more: object) -> tuple[int, str]:
    names = ("--desk", folder / "desk", "--root-keys", folder / "root", "--gallery", gallery)
    done = run_cli("desk", "init", "--fleet", "shop", *names, *more)
    return done.returncode, done.stderr


def test_a_passphrase_is_asked_for_and_a_wrong_one_refused(tmp_path: Path, gallery: Path) -> None:
    write_secret(tmp_path / "word", "correct horse")
    write_secret(tmp_path / "wrong", "battery staple")
    assert _init(tmp_path, gallery, "--passphrase-file", tmp_path / "word")[0] == 0
    rotate = ("desk", "rotate", "--desk", tmp_path / "desk", "--root-keys", tmp_path / "root")
    for file, code, text in (
        ("word", 0, ""),
        ("wrong", 14, "the passphrase is wrong"),
        (None, 14, "the key has a passphrase"),
    ):
        options = () if file is None else ("--passphrase-file", tmp_path / file)
        done = run_cli(*rotate, *options)
        assert done.returncode == code
        assert text in done.stderr
        assert len(done.stderr.splitlines()) == (1 if code else 0)


def test_two_keys_replace_a_lost_one(tmp_path: Path, gallery: Path) -> None:
    assert _init(tmp_path, gallery)[0] == 0
    root = tmp_path / "root"
    (root / "root-3.pem").unlink()
    rotate = ("desk", "rotate", "--desk", tmp_path / "desk", "--root-keys")
    assert run_cli(*rotate, root, "--replace-lost", root / "root-4.pem").returncode == 0
    one, four = root / "root-1.pem", root / "root-4.pem"
    assert run_cli(*rotate, one, "--root-keys", four).returncode == 0
    done = run_cli(*rotate, one)
    assert done.returncode == 14
    assert "2 root keys of this fleet must sign, and 1 of" in done.stderr


def test_the_root_keys_stay_out_of_the_folder(tmp_path: Path, gallery: Path) -> None:
    place = tmp_path / "desk"
    keys = ("--root-keys", place / "root")
    done = run_cli("desk", "init", "--fleet", "shop", "--desk", place, *keys, "--gallery", gallery)
    assert done.returncode == 15
    assert "must not be in the desk's folder" in done.stderr
    assert not place.exists()


def test_a_folder_with_content_is_left_alone(tmp_path: Path, gallery: Path) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "note.txt").write_text("mine")
    code, text = _init(tmp_path, gallery)
    assert (code, "exists already" in text) == (15, True)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65, "#"])
def test_a_fleet_has_a_name_for_topics(tmp_path: Path, gallery: Path, name: str) -> None:
    names = ("--desk", tmp_path / "desk", "--root-keys", tmp_path / "root", "--gallery", gallery)
    done = run_cli("desk", "init", "--fleet", name, *names)
    assert done.returncode == 2
    assert not (tmp_path / "root").exists()


def test_a_missing_gallery_leaves_nothing(tmp_path: Path) -> None:
    code, text = _init(tmp_path, tmp_path / "none.sqlite")
    assert code == 5
    assert len(text.splitlines()) == 1
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "data-home"])


def test_a_proposal_file_is_taken_and_a_directory_is_not(tmp_path: Path, gallery: Path) -> None:
    assert _init(tmp_path, gallery)[0] == 0
    done = run_cli("desk", "take", "--desk", tmp_path / "desk", tmp_path)
    assert done.returncode == 2
    done = run_cli("desk", "boards", "--desk", tmp_path / "nowhere")
    assert done.returncode == 15
    assert "make one: edge-runtime desk init" in done.stderr
