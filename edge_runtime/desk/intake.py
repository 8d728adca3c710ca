"""Take what boards send. Everything in it may be wrong, repeated or hostile."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge_runtime.desk.folder import Desk
from edge_runtime.desk.store import ACCEPTED, MOST_BOARDS, PENDING, REJECTED, Store, refuse
from edge_runtime.errors import FleetFormatError
from edge_runtime.fleet.operations import Add, from_object, parse_add, to_line
from edge_runtime.system.printable import printable

log = logging.getLogger(__name__)

MOST_STATUS_BYTES = 8192
MOST_PROPOSAL_BYTES = 1 << 17
"""Largest line: one picture with its views takes a few thousand bytes."""
BOARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNNAMED = "?"
"""Counts what comes under no valid board's name."""
_SAMPLE = 120
"""Characters of a refused message that are kept."""


@dataclass
class Taken:
    """What became of some messages."""

    new: int = 0
    known: int = 0
    again: int = 0
    """Decided before, and to be named in the next version again."""
    refused: int = 0


@dataclass(frozen=True)
class Limits:
    """What one desk takes."""

    model_id: str
    bits: int
    most_pending: int
    most_pending_together: int
    name_again_s: float


def limits_of(desk: Desk) -> Limits:
    """Return the limits of a desk; raises `GalleryError`."""
    settings = desk.settings
    with desk.gallery(read_only=True) as gallery:
        return Limits(
            gallery.model_id,
            gallery.bits,
            settings.most_pending,
            settings.most_pending_together,
            settings.name_again_s,
        )


class _RefusedError(Exception):
    """The message is not taken; the text is the reason."""

    detail = ""
    """What is wrong, if there are many ways to be wrong."""


def take(store: Store, messages: Iterable[tuple[str | None, bytes]], limits: Limits) -> Taken:
    """Take proposals: the board of the topic (None: as the line says) and the line, of each.

    When it returns, what was taken is durable. A refused line is counted, and never an error.
    """
    taken = Taken()
    with store.changing() as connection:
        quota = _Quota(connection, limits)
        for board, line in messages:
            try:
                _take_one(connection, board, line, quota, taken)
            except _RefusedError as error:
                taken.refused += 1
                name = board if board is not None and BOARD.fullmatch(board) else UNNAMED
                text = error.detail or line[:_SAMPLE].decode("utf-8", "replace")
                sample = printable(text[:_SAMPLE])
                count = refuse(connection, name, str(error), sample)
                if count & (count - 1) == 0:  # one line for 1, 2, 4, 8 and so on
                    detail = f": {error.detail}" if error.detail else ""
                    log.warning("%s: proposal %s%s (%d times)", name, error, detail, count)
    return taken


def _take_one(
    connection: sqlite3.Connection, board: str | None, line: bytes, quota: _Quota, taken: Taken
) -> None:
    limits = quota.limits
    sender, add = _parsed(board, line, limits)
    row = connection.execute(
        "SELECT state, version, named_at, again, model_id FROM proposal WHERE digest = ?",
        (add.digest,),
    ).fetchone()
    if row is None:
        quota.use(sender)
        connection.execute(
            "INSERT INTO proposal VALUES (?, ?, ?, ?, ?, ?, '', NULL, NULL, 0, ?)",
            (add.digest, sender, add.label, to_line(add), time.time(), PENDING, limits.model_id),
        )
        taken.new += 1
        return
    state, version, named_at, again, model_id = row
    taken.known += 1
    if state == PENDING and model_id != limits.model_id:  # hashed again after a roll-out
        connection.execute(
            "UPDATE proposal SET board = ?, label = ?, body = ?, model_id = ? WHERE digest = ?",
            (sender, add.label, to_line(add), limits.model_id, add.digest),
        )
        return
    if state not in (ACCEPTED, REJECTED) or version is None or again:
        return
    if _version_of(connection, sender) < version:
        return  # the board has yet to see the decision
    if 0 <= time.time() - named_at < limits.name_again_s:  # or the clock was ahead
        return
    connection.execute(
        "UPDATE proposal SET again = 1, board = ?, label = ?, body = ?, model_id = ? "
        "WHERE digest = ?",
        (sender, add.label, to_line(add), limits.model_id, add.digest),
    )
    taken.again += 1


def _parsed(board: str | None, line: bytes, limits: Limits) -> tuple[str, Add]:
    if len(line) > MOST_PROPOSAL_BYTES:
        raise _RefusedError("longer than the limit")
    try:
        value: dict[str, Any] = json.loads(line.decode("utf-8"))
        if not isinstance(value, dict):
            raise TypeError
        sender, model = value["board"], value["model_id"]
        if not (isinstance(sender, str) and BOARD.fullmatch(sender)):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _RefusedError("not a proposal") from None
    if board is not None and board != sender:
        raise _RefusedError("sent under the topic of another board")
    if model != limits.model_id:
        raise _RefusedError("of another model")
    try:
        return sender, parse_add(line, limits.bits)
    except FleetFormatError as error:
        refused = _RefusedError("malformed")
        refused.detail = error.what
        raise refused from None


class _Quota:
    """How many proposals wait, counted once in a transaction."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits) -> None:
        self.limits = limits
        self._connection = connection
        self._of: dict[str, int] = {}
        self._together = -1

    def use(self, board: str) -> None:
        """Count another one of `board`; raises `_RefusedError`.

        Names are free where the broker lets a board use any topic, so all together count, too.
        """
        count = "SELECT count(*) FROM proposal WHERE state = ?"
        if board not in self._of:
            query = f"{count} AND board = ?"
            (self._of[board],) = self._connection.execute(query, (PENDING, board)).fetchone()
        if self._together < 0:
            (self._together,) = self._connection.execute(count, (PENDING,)).fetchone()
        limits = self.limits
        if self._of[board] >= limits.most_pending:
            raise _RefusedError(f"the board has {limits.most_pending} undecided proposals already")
        if self._together >= limits.most_pending_together:
            raise _RefusedError(f"{limits.most_pending_together} proposals wait for a decision")
        self._of[board] += 1
        self._together += 1


def _version_of(connection: sqlite3.Connection, board: str) -> int:
    row = connection.execute("SELECT version FROM board WHERE name = ?", (board,)).fetchone()
    return int(row[0]) if row else 0


def take_status(store: Store, messages: Iterable[tuple[str, bytes, bool]]) -> None:
    """Record the states of boards: name, JSON, and whether the broker had kept it, of each."""
    with store.changing() as connection:
        for board, text, kept in messages:
            if not text:  # taken back
                continue
            try:
                _take_status(connection, board, text, kept)
            except _RefusedError as error:
                name = board if BOARD.fullmatch(board) else UNNAMED
                refuse(connection, name, f"status {error}")


def _take_status(connection: sqlite3.Connection, board: str, text: bytes, kept: bool) -> None:
    if len(text) > MOST_STATUS_BYTES:
        raise _RefusedError("longer than the limit")
    try:
        value = json.loads(text.decode("utf-8"))
        version = value["version"]
        sent_at = datetime.fromisoformat(value["time"]).timestamp() if "time" in value else 0.0
        if value["board"] != board or not BOARD.fullmatch(board) or type(version) is not int:
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise _RefusedError("malformed") from None
    now = time.time()
    seen = min(now, sent_at) if kept else now
    known = connection.execute("SELECT 1 FROM board WHERE name = ?", (board,)).fetchone()
    if known is None:
        (count,) = connection.execute("SELECT count(*) FROM board").fetchone()
        if count >= MOST_BOARDS:
            raise _RefusedError(f"more than {MOST_BOARDS} boards")
    connection.execute(
        "INSERT INTO board VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET "
        # A later time than now was noted when the desk's clock was ahead.
        "last_seen = CASE WHEN last_seen > ?2 THEN ?3 ELSE max(last_seen, ?3) END, "
        "version = ?4, status = ?5",
        (board, now, seen, max(0, min(version, 2**53)), text.decode()),
    )


def parse_body(body: bytes, bits: int) -> Add:
    """Return the picture of a stored proposal; raises `FleetFormatError`."""
    operation = from_object(json.loads(body), bits)
    assert isinstance(operation, Add)
    return operation
