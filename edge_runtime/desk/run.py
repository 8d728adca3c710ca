"""The desk as a process: takes messages, decides by a rule, publishes, renews signatures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.desk.edit import accept_by_rule
from edge_runtime.desk.folder import Desk
from edge_runtime.desk.intake import limits_of, take, take_status
from edge_runtime.desk.line import PROPOSALS, Line, Message
from edge_runtime.desk.publish import catch_up, publish, signed_version
from edge_runtime.desk.rollout import steps as rollout
from edge_runtime.errors import EdgeRuntimeError

log = logging.getLogger(__name__)

MOST_AT_ONCE = 500
WAIT_S = 0.3
ROLL_S = 2.0
"""Seconds between decisions on a roll-out."""
RENEW_S = 60.0
"""Seconds between looks at what is soon to expire."""
RETRY_S = 2.0
"""Seconds until a failed step is tried again."""


@dataclass
class Work:
    """What the process has done, for the page and the metrics."""

    new: int = 0
    known: int = 0
    again: int = 0
    refused: int = 0
    published: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    """What fails now, by step."""


class Running:
    """One desk that runs. `step` is called again and again, on one thread."""

    def __init__(
        self, desk: Desk, line: Line | None, *, rule: str = "none", publish_every_s: float = 0.0
    ) -> None:
        """`rule`: which proposals are accepted, all, known or none. Raises `EdgeRuntimeError`."""
        self.desk, self.line = desk, line
        self.work = Work()
        self._rule = rule
        self._publish_every_s = publish_every_s
        self._due_s = dict.fromkeys(("decide", "publish", "roll", "renew"), 0.0)
        self._held: list[Message] = []
        self._seen: tuple[int, int] | None = None
        with desk.signing() as repository:
            self.version = catch_up(desk, repository)
        self._limits = limits_of(desk)

    def step(self) -> None:
        """Do what is due. A step that fails is logged once, and tried again later."""
        if self.line is None:
            time.sleep(WAIT_S)
        else:
            self._messages(self.line)
        self._every("decide", 1.0, self._decide)
        if self._publish_every_s:
            self._every("publish", self._publish_every_s, self._publish)
        self._every("roll", ROLL_S, self._roll)
        self._every("renew", RENEW_S, self._renew)
        self._try("announce", self._announce)

    def _messages(self, line: Line) -> None:
        messages = self._held or line.collect(WAIT_S, MOST_AT_ONCE)
        self._held = messages
        if messages and self._try("messages", lambda: self._take(messages)):
            line.acknowledge(messages)
            self._held = []
        elif messages:
            time.sleep(WAIT_S)

    def _take(self, messages: list[Message]) -> None:
        states = [(m.board, m.payload, m.kept) for m in messages if m.kind != PROPOSALS]
        lines = [(m.board, m.payload) for m in messages if m.kind == PROPOSALS]
        if states:
            take_status(self.desk.store, states)
        if lines:
            taken = take(self.desk.store, lines, self._limits)
            self.work.new += taken.new
            self.work.known += taken.known
            self.work.again += taken.again
            self.work.refused += taken.refused

    def _decide(self) -> None:
        accept_by_rule(self.desk, self._rule)

    def _publish(self) -> None:
        version = publish(self.desk)
        if version is not None:
            self.work.published += 1
            log.info("version %d: %d pictures", version.number, version.pictures)

    def _roll(self) -> None:
        decision = rollout.step(self.desk)
        if decision is not None and decision.action != "keep":
            why = f": {decision.why}" if decision.why else ""
            log.info("roll-out: %s, %g %% of the boards%s", decision.action, decision.percent, why)

    def _renew(self) -> None:
        with self.desk.signing() as repository:
            renewed = repository.renew_if_due()
        if renewed:
            log.info("signed again: %s", ", ".join(renewed))

    def _announce(self) -> None:
        """Tell the boards about a version that this or another process published."""
        seen = _identity(self.desk.public / "metadata" / "timestamp.json")
        if seen == self._seen:
            return
        self.version = signed_version(self.desk.repository())
        self._seen = seen
        self._limits = limits_of(self.desk)  # a roll-out may have changed the model
        if self.line is not None:
            self.line.announce(self.version)

    def _every(self, name: str, every_s: float, act: Callable[[], None]) -> None:
        now = time.monotonic()
        if now >= self._due_s[name]:
            done = self._try(name, act)
            self._due_s[name] = time.monotonic() + (every_s if done else min(every_s, RETRY_S))

    def _try(self, name: str, act: Callable[[], None]) -> bool:
        """Return whether `act` succeeded. One line is logged when that changes."""
        try:
            act()
        except EdgeRuntimeError as error:
            if self.work.faults.get(name) != str(error):
                log.error("%s", error)
            self.work.faults[name] = str(error)
            return False
        if self.work.faults.pop(name, None):
            log.info("%s: works again", name)
        return True


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
