"""Which faults happen when. A plan depends only on its seed and on the length of the run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from profiles.bench.fleet.clocks import DAY_S, HOUR_S

EVERY_S = 0.7
"""Mean seconds between two faults; several may last at the same time."""
WIPES = (1 / 3, 2 / 3)
"""When the broker's disk is wiped, as shares of the run."""
FUTURE_AT = 0.45
"""When the desk's clock goes days ahead, so that it signs in the future."""
FUTURE_S = 2 * DAY_S
_BOARD_CLOCKS = (1 * DAY_S, 2.5 * DAY_S, 10 * DAY_S, -HOUR_S, -3 * DAY_S, -400 * DAY_S)
_DESK_CLOCKS = (-HOUR_S, -3 * DAY_S, -400 * DAY_S)
"""Not ahead: what the desk signs then is refused until new keys replace the present ones."""
OFF_S = 20
"""A clock that is set right is still wrong by up to this."""


@dataclass(frozen=True)
class Fault:
    """Something bad that happens to one process for some time."""

    at_s: float
    kind: str
    """killed, stopped, partitioned, wiped, clock or future."""
    part: str
    lasts_s: float
    clock_s: float = 0.0
    """For a clock: how far ahead it is."""

    @property
    def described(self) -> str:
        """What is counted in a report."""
        if self.kind == "clock":
            return "clock ahead, then set back" if self.clock_s > 0 else "clock behind"
        return {"future": "clock ahead while it signs, then new keys"}.get(self.kind, self.kind)


def first_clocks(boards: Sequence[str], chance: random.Random) -> dict[str, float]:
    """Return how far ahead the clocks of two thirds of the boards are at the start."""
    return {name: chance.choice(_BOARD_CLOCKS) for number, name in enumerate(boards) if number % 3}


def make_plan(boards: Sequence[str], seconds: float, chance: random.Random) -> list[Fault]:
    """Return the faults of a run, in their order."""
    plan = [Fault(share * seconds, "wiped", "broker", 1.0) for share in WIPES]
    plan.append(Fault(FUTURE_AT * seconds, "future", "desk", min(5.0, seconds / 8), FUTURE_S))
    # The other parts are one each: they would rarely be chosen among many boards.
    names = [*boards, *("desk", "broker", "files") * max(1, len(boards) // 12)]
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(1 / EVERY_S)) < seconds:
        part = chance.choice(names)
        kind = chance.choices(
            ("killed", "stopped", "partitioned", "clock"), weights=(9, 5, 5, 4), k=1
        )[0]
        plan.append(_fault(at_s, kind, part, chance))
    return sorted(plan, key=lambda fault: fault.at_s)


def _fault(at_s: float, kind: str, part: str, chance: random.Random) -> Fault:
    if kind == "killed":
        return Fault(at_s, kind, part, chance.uniform(0.1, 1.0))
    if kind == "stopped":
        return Fault(at_s, kind, part, chance.uniform(0.5, 3.0))
    if kind == "partitioned":
        return Fault(at_s, kind, part, chance.uniform(1.0, 8.0))
    if part == "desk":  # it signs nothing until then
        return Fault(at_s, kind, part, chance.uniform(2.0, 5.0), chance.choice(_DESK_CLOCKS))
    return Fault(at_s, kind, part, chance.uniform(3.0, 12.0), chance.choice(_BOARD_CLOCKS))
