"""Proposals over NATS, whose server speaks MQTT, and its trap.

NATS confirms a message to a forbidden topic, and stores nothing. So only a version decides.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.cli import run_command
from edge_runtime.desk.boards import boards_of
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.publish import signed_version
from edge_runtime.desk.settings import Broker as BrokerSettings
from edge_runtime.fleet.content import pending_pictures
from edge_runtime.fleet.follower import board_state
from tests.daemon.broker import free_port, until
from tests.support.fleet import enroll, open_gallery, picture
from tests.support.fleet.desk import new_desk
from tests.support.fleet.running import DeskProcess
from tests.support.processes import ROOT
from tests.support.web import write_secret

PROGRAM = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no nats-server: apt install nats-server"),
]
TOPIC = "edge-runtime/fleet/shop"
PASSWORD = "the-password-of-all"


class Nats:
    """A NATS server with MQTT, and a user for the desk and for a board."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *forbidden: str) -> None:
        """Start it; the board may not publish to the subjects `forbidden`."""
        refused = json.dumps({"publish": {"deny": list(forbidden)}})
        config = self._folder / "nats.conf"
        config.write_text(
            f"port: {free_port()}\nhost: 127.0.0.1\nserver_name: fleet\n"
            f'jetstream {{ store_dir: "{self._folder}/nats" }}\n'
            f"mqtt {{ host: 127.0.0.1, port: {self.port} }}\n"
            "authorization { users = [\n"
            f'  {{ user: desk, password: "{PASSWORD}" }}\n'
            f'  {{ user: north, password: "{PASSWORD}", permissions: {refused} }}\n'
            "] }\n"
        )
        assert PROGRAM
        log = (self._folder / "nats.log").open("ab")
        with log:
            self._child = subprocess.Popen([PROGRAM, "-c", config], stdout=log, stderr=log)

    def stop(self) -> None:
        if self._child:
            self._child.kill()
            self._child.wait()
            self._child = None


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    started = Nats(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def desk(tmp_path: Path, nats: Nats) -> Desk:
    write_secret(tmp_path / "password", PASSWORD)
    at = BrokerSettings(
        host="127.0.0.1",
        port=nats.port,
        username="desk",
        password_file=str(tmp_path / "password"),
    )
    return new_desk(tmp_path, picture("cat", 1), broker=at)


@pytest.fixture
def board(tmp_path: Path, desk: Desk, nats: Nats) -> Path:
    path = tmp_path / "board" / "gallery.sqlite"
    with open_gallery(path) as gallery:
        enroll(gallery, picture("dog", 2))
    options: list[Any] = ["--root", desk.root, "--board", "north", "--gallery", path]
    options += ["--mqtt-user", "north", "--mqtt-password-file", tmp_path / "password"]
    assert run_command(["fleet", "join", *map(str, [desk.public, *options])]) == 0
    return path


def _follow(board: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge_runtime", "fleet", "follow", "--gallery", str(board)]
    return subprocess.Popen([*command, *options], cwd=ROOT)


def test_a_proposal_becomes_a_version(nats: Nats, desk: Desk, board: Path) -> None:
    nats.start()
    process = DeskProcess(desk.path, "--accept", "all", "--publish-every", 0.5)
    follower = _follow(board, "--every", "3600")
    try:
        until(lambda: signed_version(desk.repository()) == 2, 60)
        # The hint is retained, and wakes the board up long before its next poll.
        until(lambda: board_state(board).version == 2, 60)
        assert board_state(board).pending == 0
    finally:
        follower.terminate()
        assert follower.wait(30) == 0
        assert process.stop() == 0


def test_what_was_forbidden_stays_on_the_board(nats: Nats, desk: Desk, board: Path) -> None:
    nats.start(f"{TOPIC}/proposals/north".replace("/", "."))
    process = DeskProcess(desk.path, "--accept", "all", "--publish-every", 0.5)
    try:
        process.until_logged("connected to the broker")
        assert _confirmed(nats.port, f"{TOPIC}/proposals/north"), "the trap is real"
        assert _follow(board, "--once").wait(60) == 0
        until(lambda: [each.name for each in _boards(desk)] == ["north"], 60)
        time.sleep(2)  # what was stored would have arrived
        assert desk.store.proposals(None) == []
        with open_gallery(board) as gallery:
            assert [each.label for each in pending_pictures(gallery)] == ["dog"]
        nats.stop()
        nats.start()
        until(lambda: process.log.count("connected to the broker") > 1, 60)
        assert _follow(board, "--once").wait(60) == 0  # proposes again at each start
        until(lambda: signed_version(desk.repository()) == 2, 60)
        assert _follow(board, "--once").wait(60) == 0
        assert (board_state(board).version, board_state(board).pending) == (2, 0)
    finally:
        assert process.stop() == 0


def _boards(desk: Desk) -> list[Any]:
    return list(boards_of(desk.store))


def _confirmed(port: int, topic: str) -> bool:
    """Publish as the board, and return whether the broker confirms it."""
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    client = paho.Client(CallbackAPIVersion.VERSION2, "test")
    client.username_pw_set("north", PASSWORD)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        info = client.publish(topic, "{}", 1)
        info.wait_for_publish(20)
        return info.is_published()
    finally:
        client.disconnect()
        client.loop_stop()
