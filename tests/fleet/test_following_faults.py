"""A board whose server, disk or clock fails keeps what it has, and goes on later."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from edge_runtime.errors import (
    ClockError,
    FleetUnreachableError,
    StorageError,
)
from edge_runtime.fleet.follower import Follower, board_state
from edge_runtime.fleet.following import clock, fetching
from edge_runtime.fleet.following.joined import (
    folder_of,
)
from tests.support.fleet import enroll, open_gallery, picture
from tests.support.fleet.following import MINE, begin_answer, check, join, publish, refused
from tests.support.fleet.model import Model
from tests.support.fleet.repository import SignedFolder
from tests.support.fleet.serving import Server
from tests.support.power import Disk


def test_a_slow_server_is_left(
    followed: Path, signed: SignedFolder, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(followed, server.url, signed)
    monkeypatch.setattr(fetching, "FILE_S", 0.3)
    monkeypatch.setattr(fetching, "LEAST_RATE", 1e9)

    def slow(handler: SimpleHTTPRequestHandler) -> bool:
        begin_answer(handler, 10_000)
        try:
            for _ in range(10_000):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                threading.Event().wait(0.01)
        except OSError:
            pass
        return True

    server.answer = slow
    refused(followed, "the server is too slow", FleetUnreachableError)


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_a_server_that_fails_is_unreachable(
    followed: Path, signed: SignedFolder, server: Server, status: int
) -> None:
    join(followed, server.url, signed)

    def fail(handler: SimpleHTTPRequestHandler) -> bool:
        handler.send_error(status)
        return True

    server.answer = fail
    refused(followed, "cannot be fetched", FleetUnreachableError)


def test_without_a_network_the_board_keeps_what_it_has(
    followed: Path, signed: SignedFolder
) -> None:
    join(followed, "http://127.0.0.1:9/", signed)
    refused(followed, "cannot be fetched.*continues with what it has", FleetUnreachableError)
    join(followed, str(signed.folder / "unplugged"), signed)
    refused(followed, "cannot be fetched", FleetUnreachableError)


def test_a_full_disk_leaves_the_old_version_until_there_is_room(
    tmp_path: Path, signed: SignedFolder
) -> None:
    """Something else has filled the board's disk up to 100 kB."""
    disk = Disk(tmp_path, megabytes=4)
    try:
        board, other = disk.place / "gallery.sqlite", disk.place / "other"
        with open_gallery(board) as gallery:
            enroll(gallery, MINE)
        join(board, str(signed.folder), signed)
        Follower(board).poll()
        other.write_bytes(bytes(shutil.disk_usage(disk.place).free - 100_000))
        model = Model()
        publish(signed, model, *(picture("cat", number, features=True) for number in range(1000)))
        refused(board, "the disk is full", StorageError)
        other.unlink()
        Follower(board).poll()
        check(board, model, signed)
    finally:
        disk.remove()


def test_a_wrong_clock_accepts_nothing(
    followed: Path, signed: SignedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed.sign(now=datetime.now(UTC) + timedelta(hours=2))
    with pytest.raises(ClockError, match="the fleet signed what this board has"):
        Follower(followed).poll()
    refused(followed, "set it: timedatectl", ClockError)
    monkeypatch.setattr(clock, "NOT_BEFORE", datetime.now(UTC) + timedelta(days=900))
    refused(followed, "this software was written", ClockError)


def test_a_running_follower_sees_that_its_state_expires(followed: Path) -> None:
    """The server answers with the same bytes forever."""
    follower = Follower(followed)
    follower.poll()
    follower.repository._fresh_until = datetime.now(UTC)
    follower.poll()
    assert follower.repository._fresh_until > datetime.now(UTC)


def test_damaged_metadata_on_the_board_is_fetched_again(
    followed: Path, signed: SignedFolder
) -> None:
    """As after a power cut."""
    for path in (folder_of(followed) / "metadata").glob("*.json"):
        path.write_bytes(b"")
    Follower(followed).poll()
    assert board_state(followed).version == 2
