"""When a roll-out goes on to its next wave, and when it halts. No clock, thread or file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edge_runtime.fleet.rollout import FAILED, LEFT, OTHER, READY
from edge_runtime.fleet.waves import RUNNING, Rollout

Action = Literal["keep", "advance", "halt", "finish"]
_NAMED = 3
"""Boards that a reason names."""


@dataclass(frozen=True)
class BoardReport:
    """What a board last said of a roll-out."""

    name: str
    cpu: str
    """The target of its bundle."""
    last_seen: float
    """Seconds since 1970, by the desk's clock."""
    rollout: str = ""
    attempt: int = 0
    state: str = ""
    why: str = ""


@dataclass(frozen=True)
class Limits:
    """How careful a roll-out is."""

    wait_s: float = 600.0
    """How long a wave may take."""
    failures: int = 0
    """How many boards may fail, of all waves together."""


@dataclass(frozen=True)
class Decision:
    """What to do now, and the reason in words."""

    action: Action
    percent: float
    """The share from now on."""
    why: str = ""


@dataclass(frozen=True)
class Progress:
    """The boards of the waves until now."""

    ready: tuple[str, ...]
    failed: tuple[BoardReport, ...]
    waiting: tuple[BoardReport, ...]
    """Neither ready nor failed."""

    @property
    def members(self) -> int:
        """How many boards there are."""
        return len(self.ready) + len(self.failed) + len(self.waiting)


def progress(rollout: Rollout, boards: Iterable[BoardReport]) -> Progress:
    """Return how far the boards of the waves until now are."""
    ready, failed, waiting = [], [], []
    for board in boards:
        state = _state(rollout, board)
        if not _concerns(rollout, board) or not rollout.includes(board.name):
            continue
        if state == READY:
            ready.append(board.name)
        elif state in (FAILED, LEFT):
            failed.append(board)
        else:
            waiting.append(board)
    return Progress(tuple(ready), tuple(failed), tuple(waiting))


def _state(rollout: Rollout, board: BoardReport) -> str:
    """Return what the board said of this attempt of the roll-out; "" if nothing."""
    about = (board.rollout, board.attempt) == (rollout.id, rollout.attempt)
    return board.state if about else ""


def _concerns(rollout: Rollout, board: BoardReport) -> bool:
    """Return whether the bundle is for boards such as this one."""
    return board.cpu == rollout.cpu and _state(rollout, board) != OTHER


def decide(
    rollout: Rollout, boards: Iterable[BoardReport], since: float, now: float, limits: Limits
) -> Decision:
    """Return what to do with a running roll-out whose present wave began at `since`.

    It halts as soon as more boards failed than `limits` allow, and at the end of the wait if more
    of them failed or were seen and did not become ready. A board that was not seen since then is
    away: the roll-out continues without it, unless no board at all has become ready. As long as no
    board with this target has reported, it waits: nothing would show that the release works.
    """
    keep = Decision("keep", rollout.percent)
    boards = list(boards)
    if rollout.state != RUNNING or not any(_concerns(rollout, board) for board in boards):
        return keep
    found = progress(rollout, boards)
    late = [board for board in found.waiting if board.last_seen >= since]
    over = now >= since + limits.wait_s
    if len(found.failed) > limits.failures:
        return Decision("halt", rollout.percent, _reasons(found.failed))
    if over and len(found.failed) + len(late) > limits.failures:
        late_words = [f"{board.name} did not become ready in {limits.wait_s:g} s" for board in late]
        return Decision(
            "halt", rollout.percent, _listed([*map(_reason, found.failed), *late_words])
        )
    if over and found.members and not found.ready:
        why = f"none of the {found.members} boards of this wave became ready"
        return Decision("halt", rollout.percent, why)
    if found.waiting and not over:
        return keep
    later = [wave for wave in rollout.waves if wave > rollout.percent]
    return Decision("advance", later[0]) if later else Decision("finish", 100.0)


def _reasons(failed: Iterable[BoardReport]) -> str:
    return _listed([_reason(board) for board in failed])


def _reason(board: BoardReport) -> str:
    return f"{board.name}: {board.why or 'failed'}"


def _listed(reasons: list[str]) -> str:
    more = len(reasons) - _NAMED
    return "; ".join(reasons[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
