"""Follow a fleet until the end: poll, report, and send proposals until a version names them."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_runtime import __version__
from edge_runtime.database.side_file import DamagedError
from edge_runtime.errors import ClockError, EdgeRuntimeError
from edge_runtime.fleet.content import pending_pictures
from edge_runtime.fleet.follower import Follower, Poll, board_state
from edge_runtime.fleet.following.joined import STATUS_FILE, folder_of
from edge_runtime.fleet.following.link import Link, open_link
from edge_runtime.fleet.kinds import Add
from edge_runtime.fleet.operations import to_object
from edge_runtime.fleet.rollout import Rollouts
from edge_runtime.gallery import Gallery
from edge_runtime.history.file import history_file, path_beside
from edge_runtime.history.reading import count_wrong

log = logging.getLogger(__name__)

EVERY_S = 300.0
"""Between two polls, with a random part of a fifth, so that boards do not all ask at once."""
SPREAD_S = 30.0
"""After a hint, a board polls within this time, at random: all boards get the hint at once."""
LONGEST_S = 3600.0
"""The pause doubles while polls fail, up to this."""
TICK_S = 2.0
"""Pause between two checks of the gallery for new proposals."""
RESEND_S = 86_400.0
STATUS_S = 3600.0
"""Between two reports of a status that has not changed, with a random part of a fifth."""
MOST_DOUBLINGS = 16
COMPLAINTS_S = 30 * 86_400.0
"""For how long an event that was marked as wrong counts as a complaint."""
COUNT_S = 600.0
"""Pause between two reads of the history."""
FINISH_S = 10.0


class Service:
    """One board that follows its fleet; for one thread."""

    def __init__(
        self,
        gallery: Path,
        every_s: float = EVERY_S,
        status_s: float = STATUS_S,
        role: str = "",
        spread_s: float = SPREAD_S,
    ) -> None:
        """Poll every `every_s`, and report every `status_s` even if nothing has changed.

        `role` tells this process from the service of the board, whose connection to the broker it
        must not take over. After a hint, it polls at a random moment of the next `spread_s`.

        Raises `NotJoinedError`, `ExtraMissingError`, `FleetSignatureError` or `StorageError`.
        """
        self.gallery, self.every_s, self.status_s = gallery, every_s, status_s
        self.spread_s = spread_s
        self.status: dict[str, Any] = {}
        self.left: dict[str, int] = {}
        """Pending pictures that only other galleries of this board have (see `carry_over`)."""
        follower = Follower(gallery, on_rollout=self._roll_out)
        self.follower, self.board = follower, follower.joined.board
        self._rollouts = Rollouts(self.board, gallery.resolve())
        self._role = role
        self._link: Link | None = None
        self._mqtt: dict[str, Any] | None = None
        self._sent: dict[tuple[str, bytes], float] = {}
        """When a proposal was sent last, by label and digest."""
        self._generation = -1
        self._failures = 0
        self._polled_s = -TICK_S
        self._report_at_s = 0.0
        self._complaints: tuple[float, int] | None = None
        """When the complaints were counted, and how many there were."""

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set. What fails is logged, reported and tried again."""
        try:
            while not stop.is_set():
                try:
                    self.poll()
                except EdgeRuntimeError as error:
                    log.warning("%s", error)
                self._wait(stop)
        finally:
            if self._link is not None:
                self._link.close()

    def poll(self) -> Poll:
        """Poll once and report it; raises what `Follower.poll` raises."""
        poll, error = None, ""
        self._polled_s = time.monotonic()
        if self._take_hint():  # this poll is the answer to it
            self._report_at_s = 0.0
        clock = "ok"
        try:
            poll = self.follower.poll()
            self._failures = 0
            return poll
        except EdgeRuntimeError as fault:
            self._failures += 1
            error, clock = str(fault), "wrong" if isinstance(fault, ClockError) else "ok"
            raise
        finally:
            self._connect()
            self._report(poll, error, clock)

    def finish(self, wait_s: float = FINISH_S) -> None:
        """Send the status and the proposals if the broker answers within `wait_s`, and close."""
        end = time.monotonic() + wait_s
        while self._link is not None and time.monotonic() < end:
            if self._send_status():
                with suppress(EdgeRuntimeError):
                    while self.send_proposals():
                        time.sleep(0.05)
                break
            time.sleep(0.05)
        if self._link is not None:
            self._link.close()

    def _wait(self, stop: threading.Event) -> None:
        """Wait for the next poll, and send new proposals until then."""
        doubled = self.every_s * 2 ** min(self._failures, MOST_DOUBLINGS)
        pause = min(doubled, max(LONGEST_S, self.every_s))
        end = time.monotonic() + pause * random.uniform(0.8, 1.2)
        hinted = False
        while not stop.is_set() and time.monotonic() < end:
            # Whatever the broker says, there is a moment between two polls.
            rested = time.monotonic() - self._polled_s >= TICK_S
            # Later hints do not advance the poll, or many of them would end the spread.
            if rested and not hinted and self._take_hint():
                hinted = True
                due = time.monotonic() + random.uniform(0.0, self.spread_s)
                self._report_at_s = min(self._report_at_s, due)
                if not self._failures:
                    end = min(end, due)
            if time.monotonic() >= self._report_at_s:
                self._send_status()
            with suppress(EdgeRuntimeError):
                self.send_proposals()
            stop.wait(min(TICK_S, max(0.0, end - time.monotonic())))

    # -- the broker ---------------------------------------------------------------------------

    def _take_hint(self) -> bool:
        """Return whether there was a hint. A broker that was away may have lost the status."""
        if self._link is None or not self._link.hint.is_set():
            return False
        self._link.hint.clear()
        return True

    def _connect(self) -> None:
        """Connect to the broker that the fleet names now."""
        mqtt = self.follower.info.mqtt
        if mqtt != self._mqtt or (mqtt is not None and self._link is None):
            if self._link is not None:
                self._link.close()
            self._mqtt, self._sent, self._generation = mqtt, {}, -1
            self._link = open_link(mqtt, self.follower.joined, self._role)

    def send_proposals(self) -> int:
        """Send pending pictures that were not sent for a day; return how many."""
        if self._link is None or not (free := self._link.free):
            return 0
        now, sent = time.monotonic(), 0
        due = any(now - last > RESEND_S for last in self._sent.values())
        with Gallery(self.gallery, read_only=True) as opened:
            generation = opened.generation()
            if generation == self._generation and not due:
                return 0
            pending: set[tuple[str, bytes]] = set()
            for add in pending_pictures(opened):
                key = (add.label, add.digest)
                pending.add(key)
                if now - self._sent.get(key, -RESEND_S - now) <= RESEND_S:
                    continue
                if sent == free:
                    return sent
                if not self._link.send(
                    f"proposals/{self.board}", proposal(self.board, opened.model_id, add)
                ):
                    return sent
                self._sent[key] = now
                sent += 1
        self._generation = generation
        self._sent = {key: at for key, at in self._sent.items() if key in pending}
        return sent

    # -- the report ---------------------------------------------------------------------------

    def _report(self, poll: Poll | None, error: str, clock: str) -> None:
        before = self.status
        self.status = self._status(poll, error, clock)
        if _lasting(self.status) != _lasting(before):
            self._report_at_s = 0.0
            self._send_status()
            with suppress(OSError):  # not durable: it is made again
                path = folder_of(self.gallery) / STATUS_FILE
                temporary = path.with_name(STATUS_FILE + ".tmp")
                temporary.write_text(json.dumps(self.status))
                temporary.replace(path)

    def _send_status(self) -> bool:
        """Send the status if the broker can take it now; until then, it stays due."""
        if self._link is None or not self._link.free:
            return False
        self.status |= {"time": _now()}
        if not self._link.send(f"boards/{self.board}", self.status, retain=True):
            return False
        self._report_at_s = time.monotonic() + self.status_s * random.uniform(0.8, 1.2)
        return True

    def _count_complaints(self) -> int:
        """Return how many events of the last 30 days people marked as wrong."""
        now = time.monotonic()
        if self._complaints is None or now - self._complaints[0] >= COUNT_S:
            file = history_file(path_beside(self.gallery.resolve()))
            count = 0
            with suppress(EdgeRuntimeError, DamagedError):  # the daemon reports and repairs it
                count = count_wrong(file, time.time() - COMPLAINTS_S)
            self._complaints = (now, count)
        return self._complaints[1]

    def _status(self, poll: Poll | None, error: str, clock: str) -> dict[str, Any]:
        values: dict[str, Any] = {
            "board": self.board,
            "release": self._rollouts.spool.release or __version__,
            "rollout": self._rollouts.report,
            "left": self.left,
            "complaints": self._count_complaints(),
            "clock": clock,
            "error": error,
            "time": _now(),
            "version": 0,
            "content": "",
            "since": "",
            "pending": 0,
            "model_id": "",
            "newest": poll.newest if poll else None,
            "ready": poll is not None,
        }
        try:
            state = board_state(self.gallery)
        except EdgeRuntimeError as fault:
            return {**values, "ready": False, "error": error or str(fault)}
        values |= {"model_id": state.meta.model_id, "pending": state.pending}
        if state.fleet is not None:
            since = state.fleet.details.get("applied_at", "")
            values |= {"version": state.version, "content": state.fleet.content, "since": since}
        return values

    def _roll_out(self, content: bytes) -> None:
        place = self.gallery.resolve()
        if place != self._rollouts.gallery:  # another release leads to another gallery
            self._rollouts = Rollouts(self.board, place)
        repository = self.follower.repository
        self._rollouts.follow(content, repository.fetch, repository.discard)


def proposal(board: str, model_id: str, add: Add) -> dict[str, Any]:
    """Return a pending picture as a board proposes it."""
    return {"board": board, "model_id": model_id, **to_object(add)}


def export_proposals(gallery: Path, board: str) -> list[bytes]:
    """Return the pending pictures as lines for a file; raises `GalleryError`."""
    with Gallery(gallery, read_only=True) as opened:
        return [
            json.dumps(proposal(board, opened.model_id, add), ensure_ascii=False).encode() + b"\n"
            for add in pending_pictures(opened)
        ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _lasting(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without the time, which changes at each poll."""
    return {key: value for key, value in status.items() if key != "time"}
