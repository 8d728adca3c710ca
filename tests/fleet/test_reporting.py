"""What a board reports and proposes, with a broker that lies or is busy (a fake at its seam)."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from securesystemslib.signer import CryptoSigner

from edge_runtime.errors import ClockError
from edge_runtime.fleet import service as module
from edge_runtime.fleet.following import clock
from edge_runtime.fleet.following.joined import Joined, folder_of, write_joined
from edge_runtime.fleet.following.link import Link
from edge_runtime.fleet.service import Service
from edge_runtime.history.file import Entry, Limits, Mark, history_file, mark, path_beside, write
from tests.support.events import make_event
from tests.support.fleet import enroll, open_gallery, picture
from tests.support.fleet.model import Model
from tests.support.fleet.repository import SignedFolder, in_days

MQTT = {"host": "127.0.0.1", "port": 1, "tls": False, "topic": "edge-runtime/fleet/test"}


class FakeLink:
    """Takes every message while it has room."""

    def __init__(self) -> None:
        self.hint = threading.Event()
        self.free = 50
        self.works = True
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, topic: str, body: dict[str, Any], *, retain: bool = False) -> bool:
        if self.works:
            self.sent.append((topic, dict(body)))
        return self.works

    def close(self) -> None:
        """Nothing to end."""

    def topics(self) -> list[str]:
        return [topic for topic, _ in self.sent]


@pytest.fixture
def signed(tmp_path: Path) -> SignedFolder:
    return SignedFolder(tmp_path / "public", mqtt=MQTT)


@pytest.fixture
def board(tmp_path: Path, signed: SignedFolder) -> Path:
    path = tmp_path / "board" / "gallery.sqlite"
    with open_gallery(path) as gallery:
        enroll(gallery, picture("mine", 1000))
    joined = Joined("kitchen", str(signed.folder), "test")
    write_joined(path, joined, signed.trust.read_bytes())
    return path


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> FakeLink:
    fake = FakeLink()
    monkeypatch.setattr(module, "open_link", lambda *_: fake)
    monkeypatch.setattr(module, "TICK_S", 0.02)
    return fake


def _wait(service: Service) -> None:
    service._wait(threading.Event())


# -- status ----------------------------------------------------------------------------------------


def test_a_status_without_news_is_reported_again(board: Path, link: FakeLink) -> None:
    service = Service(board, every_s=0.3, status_s=0.05)
    service.poll()
    assert link.topics() == ["boards/kitchen"]
    first = dict(link.sent[0][1])
    _wait(service)
    states = [body for topic, body in link.sent if topic == "boards/kitchen"]
    assert len(states) >= 2
    assert {**states[-1], "time": ""} == {**first, "time": ""}


def test_a_status_stays_due_until_the_broker_takes_it(board: Path, link: FakeLink) -> None:
    link.free = 0
    service = Service(board, every_s=0.1)
    service.poll()
    assert link.sent == []
    link.free = 50
    _wait(service)
    assert link.topics().count("boards/kitchen") == 1


def test_marks_of_the_last_month_are_complaints(board: Path, link: FakeLink) -> None:
    now = datetime.now(UTC)
    times = [now, now - timedelta(days=2), now - timedelta(days=29), now - timedelta(days=31)]
    events = [
        replace(make_event(n), id=f"event-{n}", time=each.isoformat())
        for n, each in enumerate(times)
    ]
    with history_file(path_beside(board)).open() as connection:
        write(connection, [Entry(each) for each in events], Limits(days=90, bytes=1 << 24))
        for number in (0, 2, 3):
            assert mark(connection, f"event-{number}", Mark("dog"))
    connection.close()
    service = Service(board)
    service.poll()
    assert service.status["complaints"] == 2


@pytest.mark.parametrize("content", [None, b"", b"no database" * 500])
def test_without_a_history_there_are_no_complaints(
    board: Path, link: FakeLink, content: bytes | None
) -> None:
    if content is not None:
        path_beside(board).write_bytes(content)
    service = Service(board)
    service.poll()
    assert service.status["complaints"] == 0
    if content is not None:
        assert path_beside(board).read_bytes() == content


def test_a_board_that_starts_without_a_clock_says_so(
    board: Path, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    Service(board).poll()
    link.sent.clear()
    monkeypatch.setattr(clock, "NOT_BEFORE", datetime.now(UTC) + timedelta(days=1))
    service = Service(board)
    with pytest.raises(ClockError):
        service.poll()
    ((topic, status),) = link.sent
    assert (topic, status["clock"], status["ready"]) == ("boards/kitchen", "wrong", False)


# -- the broker ------------------------------------------------------------------------------------


def test_hints_without_end_do_not_cause_polls_without_end(
    board: Path, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.2)
    service = Service(board, every_s=3600, spread_s=0)
    service.poll()
    for _ in range(2):
        link.hint.set()
        began = time.monotonic()
        _wait(service)
        assert time.monotonic() - began >= 0.1
        service._polled_s = time.monotonic()


def test_boards_spread_their_polls_after_a_hint(
    board: Path, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes its own moment of the time that is given, once for all hints until the poll."""
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.3 if high == 40.0 else high

    monkeypatch.setattr(random, "uniform", uniform)
    service = Service(board, every_s=3600, spread_s=40.0)
    service.poll()
    asked.clear()
    service._polled_s -= 1  # the pause between two polls is over
    link.hint.set()
    again = threading.Timer(0.1, link.hint.set)
    again.start()
    began = time.monotonic()
    _wait(service)
    assert time.monotonic() - began >= 0.3
    assert asked.count((0.0, 40.0)) == 1
    again.join()
    assert link.hint.is_set()
    service.poll()  # is the answer to the second hint, too
    assert not link.hint.is_set()


def test_a_broker_that_cannot_be_used_is_tried_again(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = [None, FakeLink()]
    monkeypatch.setattr(module, "open_link", lambda *_: links.pop(0))
    service = Service(board)
    service.poll()
    service.poll()
    assert links == []


def test_many_failures_do_not_end_the_follower(board: Path, link: FakeLink) -> None:
    service = Service(board, every_s=0.01)
    service._failures = 5000
    stop = threading.Event()
    stop.set()
    service._wait(stop)


def test_a_proposal_that_is_not_on_its_way_is_sent_again(board: Path, link: FakeLink) -> None:
    service = Service(board)
    service.poll()
    link.works = False
    assert service.send_proposals() == 0
    link.works = True
    assert service.send_proposals() == 1
    assert service.send_proposals() == 0


def test_a_decided_proposal_is_forgotten(
    board: Path, signed: SignedFolder, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, model, mine = Service(board), Model(), picture("mine", 1000)
    service.poll()
    assert service.send_proposals() == 1
    assert len(service._sent) == 1
    model.apply([mine], full=False)
    signed.publish([mine], model)
    service.poll()
    assert service.send_proposals() == 0
    assert service._sent == {}


def test_a_connection_that_ends_while_it_sends_is_no_fault(board: Path) -> None:
    link = Link(MQTT, Joined("kitchen", "folder"))
    try:
        lost, full = paho.MQTTMessageInfo(1), paho.MQTTMessageInfo(2)
        lost.rc, full.rc = paho.MQTT_ERR_NO_CONN, paho.MQTT_ERR_QUEUE_SIZE
        link._waiting = [lost, full]
        assert link.free == 0  # there is no broker
        assert link._waiting == []
        assert link.send("boards/kitchen", {}) is False
    finally:
        link.close()


# -- files -----------------------------------------------------------------------------------------


def test_files_that_a_kill_left_are_deleted(
    board: Path, signed: SignedFolder, link: FakeLink
) -> None:
    service = Service(board)
    left = folder_of(board) / "targets" / "gallery%2Fdelta%2F000001.jsonl.gz.part"
    left.write_bytes(b"half of it")
    service.poll()
    assert [path.name for path in left.parent.iterdir()] == ["fleet.json"]


def test_a_stolen_key_cannot_stop_the_clock_for_ever(
    board: Path, signed: SignedFolder, link: FakeLink
) -> None:
    """A signature of the far future holds until new keys replace the stolen one."""
    service = Service(board)
    service.poll()
    signed.stamp(in_days(900))
    for _ in range(2):
        with pytest.raises(ClockError):
            service.poll()
    new = CryptoSigner.generate_ed25519()
    signed.root.revoke_key(signed.root.roles["timestamp"].keyids[0], "timestamp")
    signed.root.add_key(new.public_key, "timestamp")
    signed.keys["timestamp"] = new
    signed.root.version += 1
    signed.sign_root()
    signed.timestamp.version = 1
    signed.publish([])
    assert service.poll().newest == 2
    assert Service(board).poll().newest == 2
