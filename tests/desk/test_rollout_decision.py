"""When a roll-out goes on and when it halts: random fleets against the rules in words."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.desk.rollout.decision import BoardReport, Decision, Limits, decide, progress
from edge_runtime.fleet.waves import Rollout

ROLLOUT = Rollout("ab" * 8, "rpi4", "cd" * 32, 10.0, (10.0, 50.0, 100.0), "running")
SINCE, WAIT = 1000.0, 600.0
STATES = ("", "waiting", "asked", "working", "ready", "failed", "left", "back", "other")

boards = st.lists(
    st.builds(
        BoardReport,
        name=st.integers(0, 10_000).map(lambda number: f"board-{number}"),
        cpu=st.sampled_from(["rpi4", "rpi4", "rpi4", "rpi5"]),
        last_seen=st.sampled_from([SINCE - 1, SINCE, SINCE + 5]),
        rollout=st.sampled_from([ROLLOUT.id, ROLLOUT.id, "ef" * 8]),
        attempt=st.sampled_from([1, 1, 2]),
        state=st.sampled_from(STATES),
    ),
    unique_by=lambda board: board.name,
    max_size=40,
)


@given(
    boards,
    st.sampled_from([10.0, 50.0, 100.0]),
    st.sampled_from([SINCE, SINCE + WAIT - 1, SINCE + WAIT]),
    st.integers(0, 3),
)
def test_the_rules(fleet: list[BoardReport], percent: float, now: float, failures: int) -> None:
    rollout = replace(ROLLOUT, percent=percent)
    decision = decide(rollout, fleet, SINCE, now, Limits(WAIT, failures))

    def state(board: BoardReport) -> str:
        return board.state if (board.rollout, board.attempt) == (rollout.id, 1) else ""

    members = [
        board
        for board in fleet
        if board.cpu == "rpi4" and rollout.includes(board.name) and state(board) != "other"
    ]
    failed = [board for board in members if state(board) in ("failed", "left")]
    ready = [board for board in members if state(board) == "ready"]
    unfinished = [board for board in members if board not in failed and board not in ready]
    over = now >= SINCE + WAIT
    late = [board for board in unfinished if board.last_seen >= SINCE] if over else []

    too_many = len(failed) + len(late) > failures
    unseen = over and members and not ready
    if too_many or unseen:
        assert (decision.action, decision.percent) == ("halt", percent)
        assert decision.why
    elif (unfinished and not over) or not any(
        board.cpu == "rpi4" and state(board) != "other" for board in fleet
    ):
        assert decision == Decision("keep", percent)
    else:
        expected = {10.0: ("advance", 50.0), 50.0: ("advance", 100.0), 100.0: ("finish", 100.0)}
        assert (decision.action, decision.percent) == expected[percent]


@given(boards)
def test_only_a_running_roll_out_changes(fleet: list[BoardReport]) -> None:
    for state in ("halted", "done", "aborted"):
        decision = decide(replace(ROLLOUT, state=state), fleet, SINCE, SINCE + 1e6, Limits())
        assert decision.action == "keep"


@given(boards)
def test_every_member_is_counted_once(fleet: list[BoardReport]) -> None:
    found = progress(ROLLOUT, fleet)
    names = [*found.ready, *(b.name for b in found.failed), *(b.name for b in found.waiting)]
    assert len(names) == len(set(names)) == found.members


def test_the_reason_names_the_board_and_what_it_said() -> None:
    rollout = replace(ROLLOUT, percent=100.0)

    def board(name: str, state: str, why: str = "") -> BoardReport:
        return BoardReport(name, "rpi4", SINCE + 1, ROLLOUT.id, 1, state, why)

    fleet = [board("hall", "failed", "release x did not become ready in 60 s")]
    decision = decide(rollout, fleet, SINCE, SINCE, Limits())
    assert decision.why == "hall: release x did not become ready in 60 s"
    fleet = [board(f"b{number}", "working") for number in range(5)]
    decision = decide(rollout, fleet, SINCE, SINCE + WAIT, Limits())
    assert decision.why.startswith("b0 did not become ready in 600 s; b1 ")
    assert decision.why.endswith("; and 2 more")
    fleet = [replace(each, last_seen=SINCE - 5) for each in fleet]
    decision = decide(rollout, fleet, SINCE, SINCE + WAIT, Limits())
    assert decision.why == "none of the 5 boards of this wave became ready"
    assert decide(rollout, [], SINCE, SINCE + 1e6, Limits()).action == "keep"  # no board is known
