"""When a camera fails: what state it is in, and how long to wait before the next try.

    STARTING ──frame──► RUNNING ◄──frame── DEGRADED
        └────────fault─────┴─────fault────────►┘        each ──stop──► STOPPED

A policy without threads, clocks or cameras: the time is handed in.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

log = logging.getLogger(__name__)


class State(StrEnum):
    """What a camera is up to."""

    STARTING = "starting"
    """No frame yet."""
    RUNNING = "running"
    DEGRADED = "degraded"
    """It failed; it is tried again and again."""
    STOPPED = "stopped"
    """Its end was reached, or we were told to stop."""


@dataclass(frozen=True)
class RetryPolicy:
    """How soon a failed camera is tried again."""

    shortest_s: float = 0.5
    """The first pause; each further one is twice as long."""
    longest_s: float = 30.0
    budget: int = 5
    """Restarts within `window_s` after which every pause is the longest."""
    window_s: float = 60.0
    stable_s: float = 10.0
    """A camera that ran for so long is trusted again: the next pause is the shortest."""


class Recovery:
    """The state of one camera, and the pauses between its restarts."""

    def __init__(
        self,
        name: str,
        policy: RetryPolicy | None = None,
        *,
        now_s: float,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name = name
        self.policy = policy or RetryPolicy()
        self.state = State.STARTING
        self.since_s = now_s
        """When this state began."""
        self.restarts = 0
        self.fault = ""
        """What went wrong last; it stays when the camera runs again."""
        self._failures = 0
        self._recent: deque[float] = deque(maxlen=max(self.policy.budget, 1))
        self._jitter = jitter

    def frame(self, now_s: float) -> None:
        """A frame came."""
        if self.state is not State.RUNNING:
            self._enter(State.RUNNING, "frames come", now_s)
        elif self._failures and now_s - self.since_s >= self.policy.stable_s:
            self._failures = 0

    def failed(self, fault: str, now_s: float) -> float:
        """It failed; gives the seconds to wait before the next try.

        The pauses differ at random by up to a half, so that many boards behind one switch do not
        come back in step.
        """
        self.fault = fault
        if self.state is not State.DEGRADED:
            self._enter(State.DEGRADED, fault, now_s)
        policy = self.policy
        spent = (
            len(self._recent) == self._recent.maxlen and now_s - self._recent[0] < policy.window_s
        )
        pause_s = policy.longest_s if spent else policy.shortest_s * 2.0 ** min(self._failures, 30)
        self._failures += 1
        self._recent.append(now_s)
        self.restarts += 1
        return min(pause_s, policy.longest_s) * self._jitter(0.5, 1.0)

    def stop(self, reason: str, now_s: float) -> None:
        """It ended, or was told to."""
        if self.state is not State.STOPPED:
            self._enter(State.STOPPED, reason, now_s)

    def _enter(self, state: State, reason: str, now_s: float) -> None:
        lasted_s = now_s - self.since_s
        level = logging.WARNING if state is State.DEGRADED else logging.INFO
        log.log(
            level,
            "camera %s: %s after %.1f s %s: %s",
            *(self.name, state.upper(), lasted_s, self.state, reason),
        )
        self.state, self.since_s = state, now_s
