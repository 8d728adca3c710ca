"""The state of a camera, and the delay before a failed camera is opened again.

    STARTING ──frame──► RUNNING ◄──frame── DEGRADED
        └────────fault─────┴─────fault────────►┘        each ──stop──► STOPPED

This module uses no threads, clocks or cameras; callers pass the time.
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
    """State of a camera."""

    STARTING = "starting"
    """No frame has arrived yet."""
    RUNNING = "running"
    DEGRADED = "degraded"
    """The camera failed; it is opened again periodically."""
    STOPPED = "stopped"
    """The source ended, or the camera was stopped."""


@dataclass(frozen=True)
class RetryPolicy:
    """Delays before a failed camera is opened again."""

    shortest_s: float = 0.5
    """The first delay; each further delay is twice as long."""
    longest_s: float = 30.0
    budget: int = 5
    """After this many restarts within `window_s`, every delay is the longest."""
    window_s: float = 60.0
    stable_s: float = 10.0
    """After running this long, a camera counts as stable: the next delay is the shortest."""


class Recovery:
    """The state of one camera and the delays between its restarts."""

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
        """Time at which this state began."""
        self.restarts = 0
        self.fault = ""
        """The last error. It remains when the camera runs again."""
        self._failures = 0
        self._recent: deque[float] = deque(maxlen=max(self.policy.budget, 1))
        self._jitter = jitter

    def frame(self, now_s: float) -> None:
        """Record the arrival of a frame."""
        if self.state is not State.RUNNING:
            self._enter(State.RUNNING, "receiving frames", now_s)
        elif self._failures and now_s - self.since_s >= self.policy.stable_s:
            self._failures = 0

    def failed(self, fault: str, now_s: float) -> float:
        """Record a failure; return the delay before the next attempt, seconds.

        Delays are shortened at random by up to a half, so that many boards behind one switch do
        not reconnect at the same moment.
        """
        self.fault = fault
        if self.state is not State.DEGRADED:
            self._enter(State.DEGRADED, fault, now_s)
        policy = self.policy
        exhausted = (
            len(self._recent) == self._recent.maxlen and now_s - self._recent[0] < policy.window_s
        )
        delay_s = (
            policy.longest_s if exhausted else policy.shortest_s * 2.0 ** min(self._failures, 30)
        )
        self._failures += 1
        self._recent.append(now_s)
        self.restarts += 1
        return min(delay_s, policy.longest_s) * self._jitter(0.5, 1.0)

    def stop(self, reason: str, now_s: float) -> None:
        """Record that the source ended or was stopped."""
        if self.state is not State.STOPPED:
            self._enter(State.STOPPED, reason, now_s)

    def _enter(self, state: State, reason: str, now_s: float) -> None:
        lasted_s = now_s - self.since_s
        level = logging.WARNING if state is State.DEGRADED else logging.INFO
        log.log(
            level,
            "camera %s: %s -> %s after %.1f s: %s",
            *(self.name, self.state.upper(), state.upper(), lasted_s, reason),
        )
        self.state, self.since_s = state, now_s
