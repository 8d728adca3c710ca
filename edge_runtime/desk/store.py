"""The desk's own records: proposals and their decisions, boards, versions, refused messages."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.database.side_file import DamagedError, SideFile
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import DeskError

APPLICATION_ID = 0x45524431  # "ERD1"
PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"
MOST_BOARDS = 20_000
MOST_REASONS = 1000
"""Rows of refused messages: a board and a reason each."""
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE proposal (
        digest BLOB PRIMARY KEY,
        board TEXT NOT NULL,
        label TEXT NOT NULL,
        body BLOB NOT NULL,
        received_at REAL NOT NULL,
        state TEXT NOT NULL,
        decided_as TEXT NOT NULL,
        version INTEGER,
        named_at REAL,
        again INTEGER NOT NULL,
        model_id TEXT NOT NULL
    ) WITHOUT ROWID""",
        "CREATE INDEX proposal_state ON proposal (state, board)",
        """CREATE TABLE board (
        name TEXT PRIMARY KEY,
        first_seen REAL NOT NULL,
        last_seen REAL NOT NULL,
        version INTEGER NOT NULL,
        status TEXT NOT NULL
    ) WITHOUT ROWID""",
        """CREATE TABLE refused (
        board TEXT NOT NULL,
        reason TEXT NOT NULL,
        count INTEGER NOT NULL,
        last_at REAL NOT NULL,
        sample TEXT NOT NULL,
        PRIMARY KEY (board, reason)
    ) WITHOUT ROWID""",
        """CREATE TABLE version (
        number INTEGER PRIMARY KEY,
        published_at REAL NOT NULL,
        content TEXT NOT NULL,
        pictures INTEGER NOT NULL,
        labels INTEGER NOT NULL,
        operations INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        note TEXT NOT NULL
    )""",
        "CREATE TABLE task (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
)


@dataclass(frozen=True)
class Proposal:
    """A picture that a board proposes."""

    digest: bytes
    board: str
    label: str
    body: bytes
    """The picture as an operation "add" in one line of JSON."""
    received_at: float
    state: str
    decided_as: str
    """The label it was accepted under, or empty."""
    version: int | None
    """The version that named the decision; None before that."""
    named_at: float | None
    again: bool
    """Whether the next version names it again."""
    model_id: str
    """The model of its codes."""


@dataclass(frozen=True)
class Version:
    """A published version, for lists."""

    number: int
    published_at: float
    content: str
    pictures: int
    labels: int
    operations: int
    bytes: int
    note: str


@dataclass(frozen=True)
class Refused:
    """Messages that were not taken, for one reason."""

    board: str
    reason: str
    count: int
    last_at: float
    sample: str


class _File(SideFile):
    """The file. It holds the only copy of the decisions, so a damaged one is never replaced."""

    def set_aside(self, why: str) -> None:
        """See `SideFile`; raises `DeskError`."""
        raise DeskError(f"damaged: {why}", where=self.path, remedy="restore it from a backup")


class Store:
    """The file desk.sqlite. Each call opens a connection, so any thread may use it."""

    def __init__(self, path: Path) -> None:
        self._file = _File(path, APPLICATION_ID, _STEPS)
        self.path = path

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction that is durable at the end of the block.

        Raises `DeskError` or `StorageError`.
        """
        with self._opened() as connection, transaction(connection):
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees one state; raises `DeskError` or `StorageError`."""
        with self._opened() as connection, transaction(connection, "DEFERRED"):
            yield connection

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._file.translated(), closing(self._file.open()) as connection:
                yield connection
        except DamagedError as error:
            raise DeskError(
                f"damaged: {error}", where=self.path, remedy="restore it from a backup"
            ) from error

    def proposals(
        self, state: str | None = PENDING, most: int = -1, *, bodies: bool = True
    ) -> list[Proposal]:
        """Return proposals in this state (None: in any), the oldest first.

        Without `bodies`, which can be large together, each body is empty.
        """
        body = "body" if bodies else "x''"
        query = (
            f"SELECT digest, board, label, {body}, received_at, state, decided_as, version, "
            "named_at, again, model_id FROM proposal WHERE ?1 IS NULL OR state = ?1 "
            "ORDER BY received_at, digest LIMIT ?2"
        )
        with self.reading() as connection:
            return [Proposal(*row) for row in connection.execute(query, (state, most))]

    def pending_bodies(self, digests: Iterable[bytes], model_id: str) -> dict[bytes, bytes]:
        """Return the bodies of those of `digests` that are pending and of this model."""
        query = "SELECT body FROM proposal WHERE digest = ? AND state = ? AND model_id = ?"
        with self.reading() as connection:
            found = {
                digest: connection.execute(query, (digest, PENDING, model_id)).fetchone()
                for digest in digests
            }
        return {digest: row[0] for digest, row in found.items() if row}

    def count_proposals(self) -> dict[str, int]:
        """Return the number of proposals by state."""
        with self.reading() as connection:
            rows = connection.execute("SELECT state, count(*) FROM proposal GROUP BY state")
            return {PENDING: 0, ACCEPTED: 0, REJECTED: 0} | dict(rows)

    def decide(self, digests: Iterable[bytes], state: str, label: str = "") -> int:
        """Record a decision on pending proposals; return how many there were."""
        with self.changing() as connection:
            return sum(
                connection.execute(
                    "UPDATE proposal SET state = ?, decided_as = ? WHERE digest = ? AND state = ?",
                    (state, label, digest, PENDING),
                ).rowcount
                for digest in digests
            )

    def versions(self, most: int = -1) -> list[Version]:
        """Return the published versions, the newest first."""
        query = (
            "SELECT number, published_at, content, pictures, labels, operations, bytes, note "
            "FROM version ORDER BY number DESC LIMIT ?"
        )
        with self.reading() as connection:
            return [Version(*row) for row in connection.execute(query, (most,))]

    def last_version(self) -> int:
        """Return the number of the last version that is recorded; 0 if there is none."""
        with self.reading() as connection:
            (number,) = connection.execute(
                "SELECT coalesce(max(number), 0) FROM version"
            ).fetchone()
            return int(number)

    def refused(self) -> list[Refused]:
        """Return what was not taken, the newest first."""
        query = "SELECT board, reason, count, last_at, sample FROM refused ORDER BY last_at DESC"
        with self.reading() as connection:
            return [Refused(*row) for row in connection.execute(query)]

    def task(self, name: str) -> str:
        """Return what is to be finished; empty if nothing is."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM task WHERE name = ?", (name,)).fetchone()
            return str(row[0]) if row else ""

    def set_task(self, name: str, value: str) -> None:
        """Remember what is to be finished even after a kill; empty: nothing."""
        with self.changing() as connection:
            if value:
                connection.execute("INSERT OR REPLACE INTO task VALUES (?, ?)", (name, value))
            else:
                connection.execute("DELETE FROM task WHERE name = ?", (name,))


def reopen_accepted(store: Store) -> None:
    """Let what was accepted and is in no version yet wait for a new decision."""
    with store.changing() as connection:
        connection.execute(
            "UPDATE proposal SET state = ?, decided_as = '' WHERE state = ? AND version IS NULL",
            (PENDING, ACCEPTED),
        )


def refuse(connection: sqlite3.Connection, board: str, reason: str, sample: str = "") -> int:
    """Count a message that is not taken; return how many of this kind there were."""
    connection.execute(
        "INSERT INTO refused VALUES (?, ?, 1, ?, ?) ON CONFLICT (board, reason) DO UPDATE "
        "SET count = count + 1, last_at = excluded.last_at, sample = excluded.sample",
        (board, reason, time.time(), sample),
    )
    connection.execute(
        "DELETE FROM refused WHERE (board, reason) IN "
        "(SELECT board, reason FROM refused ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
        (MOST_REASONS,),
    )
    (count,) = connection.execute(
        "SELECT count FROM refused WHERE board = ? AND reason = ?", (board, reason)
    ).fetchone()
    return int(count)
