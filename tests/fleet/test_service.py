"""The follower as a process: a real broker, a real file server, kill -9, and its commands."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli import run_command
from edge_runtime.fleet.content import gallery_digest, pending_pictures, shared_content
from edge_runtime.fleet.follower import board_state
from edge_runtime.fleet.following.joined import folder_of
from edge_runtime.fleet.operations import parse_add
from edge_runtime.gallery.maintenance import verify
from tests.daemon.broker import Broker, Listener, needs_broker, until
from tests.support.fleet import BITS, MODEL, enroll, open_gallery, picture
from tests.support.fleet.model import Model
from tests.support.fleet.repository import SignedFolder
from tests.support.processes import ROOT

TOPIC = "edge-runtime/fleet/test"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "board" / "gallery.sqlite"
    with open_gallery(path) as gallery:
        enroll(gallery, picture("mine", 1000, features=True))
    return path


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_runtime", "fleet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def _join(gallery: Path, signed: SignedFolder, url: str | None = None) -> None:
    root = ["--root", str(signed.trust), "--board", "kitchen", "--gallery", str(gallery)]
    assert run_command(["fleet", "join", url or str(signed.folder), *root]) == 0


@contextlib.contextmanager
def _following(gallery: Path, every_s: float = 1) -> Iterator[subprocess.Popen[bytes]]:
    options = ["--gallery", str(gallery), "--every", str(every_s), "--spread", "0.5"]
    child = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "fleet", "follow", *options], cwd=ROOT
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path)
    started.start()
    yield started
    started.stop()


def _mqtt(broker: Broker) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": broker.port, "tls": False, "topic": TOPIC}


# -- with a broker ---------------------------------------------------------------------------------


@needs_broker
def test_a_board_proposes_until_a_version_names_it(
    board: Path, tmp_path: Path, broker: Broker
) -> None:
    signed, model = SignedFolder(tmp_path / "public", mqtt=_mqtt(broker)), Model()
    _join(board, signed)
    listener = Listener(broker.port)
    with _following(board, every_s=3600) as child:
        (sent,) = until(lambda: listener.payloads(f"{TOPIC}/proposals/kitchen"), 60)
        values = json.loads(sent)
        assert (values["board"], values["model_id"]) == ("kitchen", MODEL.id)
        mine = picture("mine", 1000, features=True)
        assert parse_add(json.dumps({"add": values["add"]}).encode(), BITS) == mine
        # What is enrolled while it follows is proposed, too.
        other = picture("cat", 5)
        with open_gallery(board) as gallery:
            enroll(gallery, other)
        until(lambda: len(listener.payloads(f"{TOPIC}/proposals/kitchen")) == 2, 60)
        # A hint on the broker is faster than the next poll.
        model.apply([mine, other], full=False)
        signed.publish([mine, other], model)
        listener.publish(f"{TOPIC}/version", '{"version": 2}', retain=True)
        until(lambda: board_state(board).version == 2, 60)
        assert board_state(board).pending == 0
        status = until(lambda: _status(listener, version=2), 60)
        assert status["content"] == signed_content(board)
        assert (status["board"], status["pending"], status["clock"]) == ("kitchen", 0, "ok")
        assert (status["ready"], status["error"]) == (True, "")
        assert {"release", "since", "model_id", "complaints", "time"} <= status.keys()
        child.terminate()
        assert child.wait(20) == 0
    listener.close()


def _has_more_than(listener: Listener, count: int) -> bool:
    return len(listener.payloads(f"{TOPIC}/proposals/kitchen")) > count


def _status(listener: Listener, version: int) -> dict[str, Any] | None:
    texts = listener.payloads(f"{TOPIC}/boards/kitchen")
    value: dict[str, Any] | None = json.loads(texts[-1]) if texts else None
    return value if value and value["version"] == version else None


def signed_content(gallery: Path) -> str:
    with open_gallery(gallery) as opened:
        return gallery_digest(opened)


@needs_broker
def test_a_broker_that_loses_everything_loses_no_proposal(
    board: Path, tmp_path: Path, broker: Broker
) -> None:
    signed = SignedFolder(tmp_path / "public", mqtt=_mqtt(broker))
    _join(board, signed)
    broker.stop()
    with _following(board):
        time.sleep(1)
    broker.start()
    listener = Listener(broker.port)
    for start in range(2):  # sent again at each start
        with _following(board):
            until(partial(_has_more_than, listener, start), 60)
    assert board_state(board).pending == 1
    listener.close()


@needs_broker
def test_one_poll_proposes_too(board: Path, tmp_path: Path, broker: Broker) -> None:
    _join(board, SignedFolder(tmp_path / "public", mqtt=_mqtt(broker)))
    listener = Listener(broker.port)
    done = _run("follow", "--once", "--gallery", board)
    assert (done.returncode, done.stdout) == (0, "version 1: nothing new\n")
    until(lambda: listener.payloads(f"{TOPIC}/proposals/kitchen"))
    assert _status(listener, version=1)
    listener.close()


@needs_broker
def test_one_poll_leaves_the_connection_of_the_service_alone(board: Path, tmp_path: Path) -> None:
    record = tmp_path / "broker.log"
    broker = Broker(tmp_path, f"allow_anonymous true\nlog_dest file {record}\nuser root")
    broker.start()
    try:
        _join(board, SignedFolder(tmp_path / "public", mqtt=_mqtt(broker)))
        with _following(board, every_s=3600):
            until(lambda: "edge-runtime-fleet-kitchen" in record.read_text(), 60)
            assert _run("follow", "--once", "--gallery", board).returncode == 0
        until(lambda: "edge-runtime-fleet-kitchen-once" in record.read_text(), 60)
    finally:
        broker.stop()
    assert "already connected" not in record.read_text()


# -- kills -----------------------------------------------------------------------------------------


def test_kill_9_at_any_moment_leaves_a_version(board: Path, tmp_path: Path) -> None:
    signed, model = SignedFolder(tmp_path / "public"), Model()
    _join(board, signed)
    contents = {1: signed_content(board)}
    for number in range(8):
        adds = [picture(f"label {n % 5}", 100 * number + n) for n in range(100)]
        model.apply(adds, full=False)
        version = signed.publish(adds, model, full=number == 5)
        contents[version] = signed.targets.targets[f"gallery/delta/{version:06d}.jsonl.gz"].custom[
            "content"
        ]
        with _following(board) as child, contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.5 + 0.15 * number)
        state = board_state(board)
        assert contents[state.version] == signed_content(board)
        assert verify(board) == []
        with open_gallery(board) as gallery:
            assert [add.digest for add in pending_pictures(gallery)] == [
                picture("mine", 1000).digest
            ]
    done = _run("follow", "--once", "--gallery", board)
    assert done.returncode == 0, done.stderr
    assert board_state(board).version == signed.version
    with open_gallery(board) as gallery:
        assert set(shared_content(gallery)) == set(model.pictures())


# -- commands --------------------------------------------------------------------------------------


def test_a_board_joins_proposes_and_leaves(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = SignedFolder(tmp_path / "public")
    _join(board, signed)
    text = capsys.readouterr().out
    assert text == "joined the fleet test as kitchen: version 1; 1 picture to propose\n"
    at = ["--gallery", str(board)]
    assert run_command(["fleet", "proposals", *at]) == 0
    assert "  mine  photo-1000.jpg" in capsys.readouterr().out
    target = tmp_path / "out.jsonl"
    assert run_command(["fleet", "proposals", "--export", str(target), *at]) == 0
    assert capsys.readouterr().out.startswith("exported 1 proposal to")
    (line,) = target.read_bytes().splitlines()
    assert json.loads(line)["board"] == "kitchen"
    signed.publish([picture("cat", 1)], content=([picture("cat", 1)], []))
    assert run_command(["fleet", "follow", "--once", *at]) == 0
    assert capsys.readouterr().out == (
        "version 2: 1 added, 0 removed, 0 relabeled, 0 accepted, 0 rejected; 1 picture to propose\n"
    )
    assert run_command(["fleet", "follow", "--once", "--json", *at]) == 0
    assert json.loads(capsys.readouterr().out)["applied"] is None
    assert run_command(["fleet", "status", "--json", *at]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["board"], status["fleet"], status["version"]) == ("kitchen", "test", 2)
    assert (status["newest"], status["pending"], status["error"]) == (2, 1, "")
    assert run_command(["fleet", "status", *at]) == 0
    assert "pending   1\n" in capsys.readouterr().out
    assert run_command(["gallery", "stats", "--json", *at]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["fleet_version"], stats["pending_pictures"]) == (2, 1)
    assert run_command(["fleet", "leave", *at]) == 0
    assert capsys.readouterr().out == "left the fleet test\n"
    assert not folder_of(board).exists()
    with open_gallery(board) as gallery:
        assert gallery.labels() == {"cat": 2, "mine": 2}
    assert run_command(["fleet", "status", *at]) == 15
    assert "has not joined a fleet" in capsys.readouterr().err


def test_a_gallery_may_be_a_link(board: Path, tmp_path: Path) -> None:
    """As the link of a release to the gallery of its model."""
    link = tmp_path / "release" / "gallery.sqlite"
    link.parent.mkdir()
    link.symlink_to(board)
    _join(link, SignedFolder(tmp_path / "public"))
    assert (board.parent / "gallery.sqlite.fleet" / "join.json").exists()
    assert [path.name for path in link.parent.iterdir()] == ["gallery.sqlite"]
    done = _run("follow", "--once", "--gallery", link)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_joined_changes_nothing(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed, other = SignedFolder(tmp_path / "public"), SignedFolder(tmp_path / "other")
    at = ["--gallery", str(board), "--board", "kitchen"]
    for arguments, code, text in (
        ([str(signed.folder), "--root", str(other.trust)], 15, "not signed by the fleet's keys"),
        ([str(signed.folder), "--root", str(tmp_path / "no.json")], 6, "no such file"),
        (["ftp://host", "--root", str(signed.trust)], 3, "https://"),
        ([str(signed.folder), "--root", str(signed.trust), "--board", "a/b"], 3, "board's name"),
    ):
        assert run_command(["fleet", "join", *at, *arguments]) == code
        assert text in capsys.readouterr().err
        assert not (folder_of(board) / "join.json").exists()
    # Without a network, a board joins and fetches later.
    root = ["--root", str(signed.trust)]
    assert run_command(["fleet", "join", *at, "http://127.0.0.1:9/", *root]) == 0
    assert "cannot be fetched yet" in capsys.readouterr().out
    assert run_command(["fleet", "join", *at, str(signed.folder), *root]) == 15
    assert "first: edge-runtime fleet leave" in capsys.readouterr().err


def test_a_missing_extra_is_named(board: Path, tmp_path: Path) -> None:
    signed = SignedFolder(tmp_path / "public")
    _join(board, signed)
    for package in ("tuf", "paho"):
        script = (
            f"import sys; sys.modules[{package!r}] = None\n"
            "from edge_runtime.cli import main\n"
            f"main(['fleet', 'follow', '--once', '--gallery', {str(board)!r}])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 11
        assert "pip install edge-runtime[fleet]" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_disk_that_is_full_ends_with_its_own_error(small_disk: Path, tmp_path: Path) -> None:
    path = small_disk / "gallery.sqlite"
    with open_gallery(path) as gallery:
        enroll(gallery, picture("mine", 1))
    signed, model = SignedFolder(tmp_path / "public"), Model()
    _join(path, signed)
    adds = [picture("cat", number, features=True) for number in range(2000)]
    model.apply(adds, full=False)
    signed.publish(adds, model)
    done = _run("follow", "--once", "--gallery", path)
    assert (done.returncode, done.stdout) == (6, "")
    assert "the disk is full" in done.stderr
    assert (board_state(path).version, board_state(path).pending) == (1, 1)


def test_a_folder_that_root_made_belongs_to_the_service(board: Path, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may give files away")
    os.chown(board.parent, 65534, 65534)
    _join(board, SignedFolder(tmp_path / "public"))
    for path in (folder_of(board), *folder_of(board).rglob("*")):
        assert path.lstat().st_uid == 65534, path
