"""`edge-runtime desk run` as a process, with a real broker, and its page over HTTP."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.desk.boards import boards_of
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.publish import signed_version
from edge_runtime.desk.settings import Broker as BrokerSettings
from edge_runtime.desk.store import ACCEPTED
from tests.daemon.broker import Broker, Listener, needs_broker, until
from tests.support.fleet import picture
from tests.support.fleet.desk import new_desk, proposal, propose, status
from tests.support.fleet.running import DeskProcess, ask
from tests.support.processes import run_cli
from tests.support.web import write_secret

TOPIC = "edge-runtime/fleet/shop"
DURABLE = "allow_anonymous true\npersistence true\npersistence_location {}/"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path, DURABLE.format(tmp_path))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def desk(tmp_path: Path, broker: Broker) -> Desk:
    at = BrokerSettings(host="127.0.0.1", port=broker.port)
    return new_desk(tmp_path, picture("cat", 1), broker=at)


@needs_broker
def test_a_proposal_becomes_a_version(desk: Desk, broker: Broker) -> None:
    board = Listener(broker.port)
    process = DeskProcess(desk.path, "--accept", "all", "--publish-every", 0.5)
    try:
        process.until_logged("connected to the broker")
        board.publish(f"{TOPIC}/boards/north", status("north", 1).decode(), retain=True)
        board.publish(f"{TOPIC}/proposals/north", proposal("north", picture("dog", 2)).decode())
        until(lambda: '{"version": 2}' in board.payloads(f"{TOPIC}/version"), 60)
        assert signed_version(desk.repository()) == 2
        assert [each.name for each in boards_of(desk.store)] == ["north"]
    finally:
        board.close()
        assert process.stop() == 0


@needs_broker
def test_what_is_taken_survives_a_kill(desk: Desk, broker: Broker) -> None:
    board = Listener(broker.port)
    process = DeskProcess(desk.path)
    process.until_logged("connected to the broker")
    for number in range(10, 60):
        line = proposal("north", picture("dog", number)).decode()
        board.publish(f"{TOPIC}/proposals/north", line)
        if number == 35:
            process.kill()
    again = DeskProcess(desk.path)
    try:
        until(lambda: len(desk.store.proposals()) == 50, 60)
    finally:
        board.close()
        again.stop()


@needs_broker
def test_a_broker_that_is_gone_is_one_line(desk: Desk, broker: Broker) -> None:
    process = DeskProcess(desk.path, "--port", 0)
    try:
        process.until_logged("connected to the broker")
        broker.stop()
        process.until_logged("the connection to the broker")
        url = process.url()
        state = ask(f"{url}/api/fleet")[1]["broker"]
        assert not state["connected"]
        broker.start()
        until(lambda: ask(f"{url}/api/fleet")[1]["broker"]["connected"], 60)
        assert process.log.count("was lost") == 1
    finally:
        assert process.stop() == 0


@needs_broker
def test_a_hostile_message_is_refused_and_the_next_one_taken(desk: Desk, broker: Broker) -> None:
    board = Listener(broker.port)
    process = DeskProcess(desk.path)
    try:
        process.until_logged("connected to the broker")
        board.publish(f"{TOPIC}/proposals/north", "{" * 1_500_000)
        board.publish(f"{TOPIC}/proposals/north", proposal("north", picture("dog", 2)).decode())
        until(desk.store.proposals, 60)
        assert [each.reason for each in desk.store.refused()] == ["longer than the limit"]
    finally:
        board.close()
        assert process.stop() == 0


@needs_broker
def test_bad_proposals_are_counted_kept_apart_and_acknowledged(
    tmp_path: Path, broker: Broker
) -> None:
    """Malformed, oversized, foreign, replayed and too many: none comes again or stops another."""
    at = BrokerSettings(host="127.0.0.1", port=broker.port)
    desk = new_desk(tmp_path, picture("cat", 1), broker=at, most_pending=2)
    good = proposal("north", picture("dog", 2)).decode()
    bad = {
        "not a proposal": "{",
        "malformed": good.replace('"dog"', '"../dog"'),
        "longer than the limit": " " * 200_000,
        "sent under the topic of another board": proposal("south", picture("dog", 3)).decode(),
        "of another model": proposal("north", picture("dog", 4), "f" * 64).decode(),
    }
    board = Listener(broker.port)
    process = DeskProcess(desk.path)
    try:
        process.until_logged("connected to the broker")
        for line in (*bad.values(), good, good):
            board.publish(f"{TOPIC}/proposals/north", line)
        for number in range(5, 8):  # the quota is two
            line = proposal("north", picture("dog", number)).decode()
            board.publish(f"{TOPIC}/proposals/north", line)
        board.publish(f"{TOPIC}/proposals/east", proposal("east", picture("dog", 9)).decode())
        until(lambda: "east" in _boards(desk), 60)
        assert _boards(desk) == ["east", "north", "north"]
        refused = {each.reason: each.count for each in desk.store.refused()}
        quota = "the board has 2 undecided proposals already"
        assert refused == {**dict.fromkeys(bad, 1), quota: 2}
        samples = {each.reason: each.sample for each in desk.store.refused()}
        assert samples["not a proposal"] == "{"
        assert all(len(sample) <= 120 for sample in samples.values())
        assert process.stop() == 0
        process = DeskProcess(desk.path)
        process.until_logged("connected to the broker")
        board.publish(f"{TOPIC}/proposals/west", proposal("west", picture("dog", 10)).decode())
        until(lambda: "west" in _boards(desk), 60)
        # What the broker had kept without an acknowledgement would have come before.
        assert {each.reason: each.count for each in desk.store.refused()} == refused
    finally:
        board.close()
        process.stop()


def _boards(desk: Desk) -> list[str]:
    return sorted(each.board for each in desk.store.proposals())


def test_the_page_decides_and_publishes(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2), picture("hen", 3))
    process = DeskProcess(desk.path, "--port", 0)
    try:
        url = process.url()
        code, page = ask(f"{url}/")
        assert (code, "<main" in page) == (200, True)
        for name in ("desk.js", "desk.css", "style.css", "icon.svg"):
            assert ask(f"{url}/{name}")[0] == 200
        state = ask(f"{url}/api/fleet")[1]
        assert (state["fleet"], state["version"], len(state["proposals"])) == ("shop", 1, 2)
        dog, hen = (picture(label, n).digest.hex() for label, n in (("dog", 2), ("hen", 3)))
        answer = ask(f"{url}/api/proposals/accept", {"digests": [dog], "label": "wolf"})
        assert answer == (200, {"accepted": 1})
        assert ask(f"{url}/api/proposals/reject", {"digests": [hen]}) == (200, {"rejected": 1})
        assert ask(f"{url}/api/publish", {}) == (200, {"version": 2})
        assert ask(f"{url}/api/publish", {}) == (200, {"version": None})
        assert ask(f"{url}/api/proposals/accept", {"digests": [dog]})[0] == 422
        assert ask(f"{url}/api/proposals/accept", {"digests": "x"})[0] == 422
        text = ask(f"{url}/metrics")[1]
        until(lambda: "edge_desk_version 2.0" in ask(f"{url}/metrics")[1])
        assert "edge_desk_pending_proposals 0.0" in text
    finally:
        assert process.stop() == 0
    (accepted,) = desk.store.proposals(ACCEPTED)
    assert accepted.decided_as == "wolf"


def test_the_page_asks_for_its_token(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    token = "a-token-of-the-desk-1234"
    write_secret(tmp_path / "token", token)
    options = ("--port", 0, "--host", "0.0.0.0", "--token-file", tmp_path / "token")
    process = DeskProcess(desk.path, *options)
    try:
        url = process.url().replace("0.0.0.0", "127.0.0.1")
        assert ask(f"{url}/")[0] == 200
        assert ask(f"{url}/api/fleet")[0] == 401
        assert ask(f"{url}/metrics")[0] == 401
        assert ask(f"{url}/api/publish", {})[0] == 401
        assert ask(f"{url}/api/fleet", Authorization=f"Bearer {token}")[0] == 200
        cross = {"Authorization": f"Bearer {token}", "Origin": "http://evil.example"}
        assert ask(f"{url}/api/publish", {}, **cross)[0] == 403
    finally:
        assert process.stop() == 0


def test_a_changed_token_revokes_and_a_reader_may_only_look(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    tokens = ["a-token-of-the-desk-1234", "another-token-of-the-desk", "a-token-for-readers"]
    write_secret(tmp_path / "token", tokens[0])
    write_secret(tmp_path / "reader", tokens[2])
    files = ("--token-file", tmp_path / "token", "--reader-token-file", tmp_path / "reader")
    process = DeskProcess(desk.path, "--port", 0, *files)
    try:
        url = process.url()
        owner, new, reader = ({"Authorization": f"Bearer {token}"} for token in tokens)
        assert ask(f"{url}/api/fleet", **reader)[0] == 200
        for path in ("publish", "proposals/accept", "proposals/reject"):
            assert ask(f"{url}/api/{path}", {}, **reader)[0] == 403
        for text, said in (("short", "not reloaded: "), (tokens[1], "the token changed: ")):
            write_secret(tmp_path / "token", text)
            process.child.send_signal(signal.SIGHUP)
            process.until_logged(said)
        assert ask(f"{url}/api/fleet", **owner)[0] == 401
        assert ask(f"{url}/api/fleet", **new)[0] == 200
    finally:
        assert process.stop() == 0


def test_a_hangup_does_not_end_a_desk_without_a_page(tmp_path: Path) -> None:
    process = DeskProcess(new_desk(tmp_path, picture("cat", 1)).path)
    process.until_logged("the desk of the fleet")
    process.child.send_signal(signal.SIGHUP)
    assert process.stop() == 0


def test_other_machines_need_a_token(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    done = run_cli("desk", "run", "--desk", desk.path, "--port", 0, "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "a token is required" in done.stderr


def test_a_second_desk_in_the_folder_is_refused(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    process = DeskProcess(desk.path, "--port", 0)
    try:
        process.url()
        done = run_cli("desk", "run", "--desk", desk.path)
        assert done.returncode == 15
        assert "another desk runs in this folder" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert run_cli("desk", "publish", "--desk", desk.path).returncode == 0
    finally:
        assert process.stop() == 0


@pytest.mark.parametrize("damage", ["gone", "junk", "unknown", "newer"])
def test_a_damaged_folder_is_one_line(tmp_path: Path, damage: str) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    file = desk.path / "desk.json"
    values = json.loads(file.read_text())
    if damage == "gone":
        file.unlink()
    elif damage == "junk":
        file.write_text("{")
    elif damage == "unknown":
        file.write_text(json.dumps({**values, "colour": 1}))
    else:
        file.write_text(json.dumps({**values, "edge_runtime_desk": 2}))
    done = run_cli("desk", "boards", "--desk", desk.path)
    assert done.returncode == 15
    assert len(done.stderr.splitlines()) == 1
    assert str(desk.path) in done.stderr


def test_a_missing_online_key_stops_publishing_and_nothing_else(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", picture("dog", 2))
    for key in desk.keys.iterdir():
        key.unlink()
    assert run_cli("desk", "proposals", "accept", "--all", "--desk", desk.path).returncode == 0
    done = run_cli("desk", "publish", "--desk", desk.path)
    assert done.returncode == 14
    assert "desk rotate" in done.stderr
    root = tmp_path / "root"
    assert run_cli("desk", "rotate", "--root-keys", root, "--desk", desk.path).returncode == 0
    assert run_cli("desk", "publish", "--desk", desk.path).returncode == 0
    assert signed_version(desk.repository()) == 2
