"""What boards send may be malformed, oversized, foreign, repeated or hostile."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.desk.boards import boards_of
from edge_runtime.desk.edit import accept_by_rule, reject
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import limits_of, take, take_status
from edge_runtime.desk.publish import publish
from tests.support.fleet import picture
from tests.support.fleet.desk import new_desk, proposal, propose, status

GOOD = picture("dog", 2)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return new_desk(tmp_path_factory.mktemp("desk"), picture("cat", 1))


@pytest.mark.parametrize(
    ("board", "line", "reason"),
    [
        ("north", b"", "not a proposal"),
        ("north", b"\xff\xfe", "not a proposal"),
        ("north", b"[1, 2]", "not a proposal"),
        ("north", b"[" * 100_000, "not a proposal"),
        ("north", b'{"board": 7, "model_id": "x"}', "not a proposal"),
        ("north", b" " * 2_000_000, "longer than the limit"),
        ("north", proposal("south", GOOD), "sent under the topic of another board"),
        ("north", proposal("north", GOOD, "f" * 64), "of another model"),
        ("north", proposal("north", GOOD)[:-2] + b"}", "not a proposal"),
        (
            "north",
            proposal("north", GOOD).replace(b'"dog"', b'"../dog"'),
            "malformed",
        ),
        ("../x", proposal("../x", GOOD), "not a proposal"),
    ],
)
def test_bad_lines_are_counted(desk: Desk, board: str, line: bytes, reason: str) -> None:
    before = {(each.board, each.reason): each.count for each in desk.store.refused()}
    taken = take(desk.store, [(board, line)], limits_of(desk))
    assert (taken.new, taken.refused) == (0, 1)
    after = {(each.board, each.reason): each.count for each in desk.store.refused()}
    (changed,) = [key for key in after if after[key] != before.get(key, 0)]
    assert changed == ("north" if board == "north" else "?", reason)
    assert desk.store.proposals() == []


def test_one_bad_line_does_not_stop_the_others(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    lines = [("north", b"junk"), ("north", proposal("north", GOOD)), ("north", b"{}")]
    taken = take(desk.store, lines, limits_of(desk))
    assert (taken.new, taken.refused) == (1, 2)
    assert [each.label for each in desk.store.proposals()] == ["dog"]


def test_a_replayed_proposal_is_known(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    assert propose(desk, "north", GOOD).new == 1
    taken = propose(desk, "north", GOOD, GOOD)
    assert (taken.new, taken.known) == (0, 2)
    assert propose(desk, "south", GOOD).known == 1
    assert len(desk.store.proposals()) == 1


def test_a_board_has_a_quota(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1), most_pending=3)
    taken = propose(desk, "north", *(picture("dog", number) for number in range(10, 20)))
    assert (taken.new, taken.refused) == (3, 7)
    assert propose(desk, "south", picture("dog", 30)).new == 1


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_bytes_are_refused_or_taken(desk: Desk, line: bytes) -> None:
    take(desk.store, [("north", line), (None, line)], limits_of(desk))
    take_status(desk.store, [("north", line, True), (line.decode("utf-8", "replace"), line, False)])
    boards_of(desk.store)


def test_a_status_is_bounded_and_shown(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    bad = [
        ("north", status("south", 1), False),
        ("north", status("north", 1, x="y" * 9000), False),
        ("north", b'{"board": "north", "version": true}', False),
        ("north", b'{"board": "north", "version": 1, "time": 1e999}', True),
        ("..", status("..", 1), False),
    ]
    take_status(desk.store, bad)
    assert boards_of(desk.store) == []
    assert sum(each.count for each in desk.store.refused()) == len(bad)
    more = {"error": "disk \x1b[31m full", "pending": 4, "complaints": 2, "ready": False}
    take_status(desk.store, [("east", status("east", 0, **more), False)])
    east = boards_of(desk.store)[0]
    assert (east.name, east.behind, east.pending, east.complaints) == ("east", 1, 4, 2)
    assert "\x1b" not in east.error
    assert east.ready is False


def test_what_the_broker_kept_does_not_count_as_seen_now(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    take_status(desk.store, [("north", status("north", 1, time="1970-01-01T00:16:40+00:00"), True)])
    assert boards_of(desk.store)[0].last_seen == 1000.0
    take_status(
        desk.store, [("north", status("north", 1, time="1970-01-01T00:16:40+00:00"), False)]
    )
    assert boards_of(desk.store)[0].last_seen > 1e9


def test_times_of_a_clock_that_was_ahead_do_not_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = new_desk(tmp_path, picture("cat", 1), name_again_s=600.0)
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + 2 * 86_400)
        take_status(desk.store, [("north", status("north", 5), False)])
        propose(desk, "north", picture("dog", 2))
        reject(desk, desk.store.proposals())
        publish(desk)
    assert boards_of(desk.store)[0].last_seen > now + 86_400
    take_status(desk.store, [("north", status("north", 5), False)])
    assert boards_of(desk.store)[0].last_seen < now + 86_400
    assert propose(desk, "north", picture("dog", 2)).again == 1


def test_a_line_is_stored_as_it_was_proposed(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    add = picture("dog", 3, features=True)
    propose(desk, "north", add)
    (stored,) = desk.store.proposals()
    assert json.loads(stored.body)["add"]["digest"] == add.digest.hex()


def test_all_boards_together_have_a_quota(tmp_path: Path) -> None:
    """Names are free where the broker lets a board use any topic."""
    desk = new_desk(tmp_path, picture("cat", 1), most_pending_together=3)
    for number in range(5):
        propose(desk, f"made-up-{number}", picture("dog", 10 + number))
    assert len(desk.store.proposals()) == 3
    assert {each.reason for each in desk.store.refused()} == {"3 proposals wait for a decision"}
    assert accept_by_rule(desk, "all") == 3
    assert propose(desk, "made-up", picture("dog", 30)).new == 1


def test_a_number_without_end_in_a_status_hides_no_board(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    huge = status("north", 1, pending=10**400, complaints=-(10**400))
    take_status(desk.store, [("north", huge, False), ("south", status("south", 1), False)])
    north, south = boards_of(desk.store)
    assert (north.pending, north.complaints, south.name) == (2**53, 0, "south")


def test_features_of_another_length_stop_no_other_proposal(tmp_path: Path) -> None:
    """They are dropped: the code of the picture is as good as any."""
    desk = new_desk(tmp_path, picture("cat", 1, features=True))
    odd = picture("dog", 2, features=True)
    odd = replace(odd, features=tuple(each + b"x" for each in odd.features or ()))
    ragged = picture("dog", 3, features=True)
    ragged = replace(ragged, features=(b"", b"y"))
    propose(desk, "north", odd, ragged, picture("dog", 4, features=True))
    assert accept_by_rule(desk, "all") == 3
    with desk.gallery(read_only=True) as gallery:
        assert gallery.labels()["dog"] == 6  # codes
        with gallery.reading() as connection:
            query = "SELECT DISTINCT length(value) FROM feature"
            assert connection.execute(query).fetchall() == [(16,)]


def test_features_are_bounded_in_every_view(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, picture("cat", 1))
    long = replace(GOOD, features=(b"", bytes(20_000)))
    assert propose(desk, "north", long).refused == 1


def test_a_proposal_of_an_earlier_model_waits_until_it_is_hashed_anew(tmp_path: Path) -> None:
    """Its codes say nothing to the gallery that a roll-out brought."""
    desk = new_desk(tmp_path, picture("cat", 1))
    propose(desk, "north", GOOD)
    with desk.store.changing() as connection:
        connection.execute("UPDATE proposal SET model_id = ?, body = '{}'", ("e" * 64,))
    assert accept_by_rule(desk, "all") == 0
    assert len(desk.store.proposals()) == 1
    assert propose(desk, "north", GOOD).known == 1
    assert accept_by_rule(desk, "all") == 1
