"""The configuration file is changed atomically, and the change can be taken back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, ConfigLockedError
from edge_runtime.settings.edit import ConfigurationFile

TEXT = "# mine\n[decision]\nwindow = 5  # frames\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def test_a_change_keeps_mode_comments_and_the_previous_version(path: Path) -> None:
    file = ConfigurationFile(path)
    old, new = file.change({("decision", "window"): 7})
    assert path.read_text() == TEXT.replace("5", "7")
    assert new.settings.decision.window == 7 and old.settings.decision.window == 5
    assert [each.stat().st_mode & 0o777 for each in sorted(path.parent.iterdir())] == [0o640] * 2


def test_undo_survives_a_restart_and_can_be_undone(path: Path) -> None:
    ConfigurationFile(path).change({("decision", "window"): 7})
    file = ConfigurationFile(path)
    file.undo()
    assert path.read_text() == TEXT
    file.undo()
    assert file.read().settings.decision.window == 7
    for number in range(20, 30):
        file.change({("decision", "window"): number})
    assert len(list(path.parent.iterdir())) <= 3  # bounded


def test_a_change_by_an_editor_is_never_lost(path: Path) -> None:
    file = ConfigurationFile(path)
    known = file.read().name
    file.change({("decision", "window"): 7}, known)
    path.write_text(TEXT.replace("5", "9"))
    with pytest.raises(ConfigLockedError, match="changed meanwhile"):
        file.change({("decision", "window"): 3}, known)
    for name in ("", known):
        with pytest.raises(ConfigLockedError, match="undone"):
            file.undo(name)
    assert path.read_text() == TEXT.replace("5", "9")
    assert not file.can_undo(file.read())


def test_a_refused_version_is_taken_back_and_the_earlier_undo_stays(path: Path) -> None:
    file = ConfigurationFile(path)
    _, first = file.change({("decision", "window"): 7})
    old, new = file.change({("decision", "window"): 8})
    file.restore(old, instead_of=new)
    assert file.read() == first
    file.undo()
    assert path.read_text() == TEXT


def test_nothing_is_written_if_the_new_file_would_be_invalid(path: Path) -> None:
    before = path.stat()
    file = ConfigurationFile(path)
    with pytest.raises(ConfigError, match="window"):
        file.change({("decision", "window"): 0})
    with pytest.raises(ConfigError, match="camera"):
        file.change({("regions", "door", "camera"): "attic"})
    assert path.stat().st_ino == before.st_ino and path.read_text() == TEXT
    assert list(path.parent.iterdir()) == [path]
    old, new = file.change({("decision", "window"): 5})  # as it is
    assert old == new and list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_changed_says_why(tmp_path: Path) -> None:
    for file in (
        ConfigurationFile(None),
        ConfigurationFile(tmp_path / "missing.toml"),
        ConfigurationFile(tmp_path),
    ):
        assert file.fault and "\n" not in file.fault
        with pytest.raises(Exception, match=r"\S") as error:
            file.change({("decision", "window"): 7})
        assert "\n" not in str(error.value)
    assert "--config" in ConfigurationFile(None).fault


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_file_or_folder_is_refused(path: Path) -> None:
    path.chmod(0o440)
    assert "may not write" in ConfigurationFile(path).fault
    path.chmod(0o640)
    path.parent.chmod(0o500)
    try:
        assert "may not write" in ConfigurationFile(path).fault
    finally:
        path.parent.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(path: Path) -> None:
    os.chown(path, 12345, 54321)
    file = ConfigurationFile(path)
    file.change({("decision", "window"): 7})
    for each in path.parent.iterdir():
        assert (each.stat().st_uid, each.stat().st_gid) == (12345, 54321)


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    ConfigurationFile(link).change({("decision", "window"): 7})
    assert link.is_symlink() and "7" in path.read_text()


def test_line_endings_and_the_byte_order_mark_stay(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    ConfigurationFile(path).change({("decision", "window"): 7, ("decision", "radius"): 3})
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf#") and data.count(b"\n") == data.count(b"\r\n") == 4
