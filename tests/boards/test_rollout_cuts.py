"""deploy/rollout.py: a full disk or a power cut leaves the old release or the new one, whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet.releases import Board, bundle, release, rollout
from tests.support.power import Disk


def test_a_full_disk_is_said_before_anything_is_written(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(board.folder)._replace(free=10_000_000)
    monkeypatch.setattr(rollout.shutil, "disk_usage", lambda _: usage)
    board.request()
    assert f"10 MB free on {board.prefix}, 50 MB needed" in board.take()
    assert board.record["state"] == "failed"


def test_a_disk_that_fills_up_leaves_the_release_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path, megabytes=16)
    try:
        board = Board(disk.place, monkeypatch)
        usage = shutil.disk_usage(board.folder)._replace(free=10**12)
        monkeypatch.setattr(rollout.shutil, "disk_usage", lambda _: usage)
        board.request(bundle("good" * 1_500_000))
        assert "No space left on device" in board.take()
        assert (board.text, board.record["state"]) == ("old", "failed")
        assert [path.name for path in (board.prefix / "releases").iterdir()] == ["base"]
        assert not (board.prefix / "rollout").exists()
        assert board.restart() == ""
    finally:
        disk.remove()


def _cut_at(board: Board, step: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Take the request in a process that dies before its `step`-th change; return whether it did.

    The changes are those that last: files written or removed, the link, the environment's copy.
    """
    if (child := os.fork()) == 0:
        count = 0

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                if count == step:
                    os._exit(9)
                count += 1
                return function(*arguments, **options)

            return call

        for module, names in (
            (release, ("write_durably", "sync")),
            (release.Board, ("switch", "_install_unit")),
            (rollout, ("write_durably", "unpack", "move_scripts", "link_gallery")),
            (rollout, ("examine", "check_bundle")),
            (rollout.subprocess, ("run",)),
            (shutil, ("rmtree",)),
        ):
            for name in names:
                monkeypatch.setattr(module, name, counted(getattr(module, name)))
        monkeypatch.setattr(rollout, "restart", counted(board.restart))
        board.take()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("text", ["good", "hangs", "back"])
def test_a_cut_before_any_step_leaves_a_whole_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    steps = 0
    while True:
        (folder := tmp_path / str(steps)).mkdir()
        board = Board(folder, monkeypatch)
        board.request(bundle("hangs" if text == "hangs" else "good"), gallery="gallery-new.sqlite")
        if text == "back":
            assert board.take() == ""
            board.request(action="back")
        if not _cut_at(board, steps, monkeypatch):
            break
        board.boot()
        fault = board.restart()
        assert not fault and board.board.fault(board.board.current) == ""
        assert board.gallery.name == (
            "gallery-new.sqlite" if board.text == "good" else "gallery.sqlite"
        )
        board.take()  # at boot, and for each new request
        assert board.record["state"] == {"good": "ready", "hangs": "failed"}.get(text, text)
        assert board.text == ("good" if text == "good" else "old")
        assert board.board.fault(board.board.current) == ""
        assert not (board.prefix / "rollout").exists()
        steps += 1
    assert steps > (25 if text != "back" else 6)


def test_a_board_that_fails_in_every_installation_gives_up(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model may be what cuts the power."""
    board.request()
    for _ in range(3):
        assert _cut_at(board, 20, monkeypatch)
        board.boot()
        assert board.restart() == ""
    assert board.take() == "cut short 3 times"
    assert (board.text, board.record["state"]) == ("old", "failed")
