"""The file of the history: its tables, what is written to it, and what is removed.

An event is stored as JSON beside the values that it is filtered by. Events of one frame share a
picture. Both have ascending numbers, so the oldest are removed together.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from edge_runtime.database.side_file import SideFile
from edge_runtime.database.transaction import transaction
from edge_runtime.types import Event

APPLICATION_ID = 0x45524831  # "ERH1"
STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE picture (id INTEGER PRIMARY KEY AUTOINCREMENT, jpeg BLOB NOT NULL)",
        """CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        at_ms INTEGER NOT NULL,
        day TEXT NOT NULL,
        kind TEXT NOT NULL,
        label TEXT NOT NULL,
        camera TEXT NOT NULL,
        details TEXT NOT NULL,
        picture INTEGER,
        wrong TEXT
    )""",
        "CREATE INDEX event_time ON event (at_ms)",
        "CREATE INDEX event_label ON event (label)",
        "CREATE INDEX event_day ON event (kind, day, label)",
        "CREATE INDEX event_picture ON event (picture)",
    ),
)
"""The statements from each schema to the next. A released step is never edited."""
MOST_EVENTS = 100_000
AT_ONCE = 0.05
"""Share of the limit that is removed when the file has reached it, so that this is rare."""
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Limits:
    """How much is kept; the oldest events are removed first."""

    days: float
    bytes: int
    """Largest size of the file. Its write-ahead log takes up to a megabyte more."""
    events: int = MOST_EVENTS


@dataclass(frozen=True)
class Entry:
    """An event to be stored."""

    event: Event
    jpeg: bytes = b""
    """What the region showed, or empty."""


@dataclass(frozen=True)
class Mark:
    """The user's statement that an event has the wrong label."""

    label: str | None
    """The right label; None if it is nothing that has one."""


def path_beside(gallery: Path) -> Path:
    """Return the path of the history that belongs to a gallery: NAME.history.sqlite."""
    return gallery.with_name(f"{gallery.stem}.history.sqlite")


def history_file(path: Path) -> SideFile:
    """Return the history at `path`."""
    return SideFile(path, APPLICATION_ID, STEPS)


def write(
    connection: sqlite3.Connection,
    entries: Sequence[Entry],
    limits: Limits,
    now_s: float | None = None,
) -> None:
    """Store `entries`, and remove what exceeds the limits, all in one transaction.

    An event that is stored already is left as it is. `now_s`: the time, seconds since 1970.
    """
    now_ms = round((time.time() if now_s is None else now_s) * 1000)
    with transaction(connection):
        shared: tuple[bytes, int | None] = (b"", None)
        for entry in entries:
            if entry.jpeg is not shared[0]:
                shared = (entry.jpeg, _add_picture(connection, entry.jpeg))
            _add_event(connection, entry.event, now_ms, shared[1])
        purge(connection, limits, now_ms)
    if _file_bytes(connection) > limits.bytes:
        connection.executescript("PRAGMA incremental_vacuum")  # `execute` frees a single page


def _add_picture(connection: sqlite3.Connection, jpeg: bytes) -> int | None:
    if not jpeg:
        return None
    return connection.execute("INSERT INTO picture (jpeg) VALUES (?)", (jpeg,)).lastrowid


def _add_event(
    connection: sqlite3.Connection, event: Event, now_ms: int, picture: int | None
) -> None:
    try:
        at_ms = round(datetime.fromisoformat(event.time).timestamp() * 1000)
    except ValueError:
        at_ms = now_ms
    connection.execute(
        "INSERT OR IGNORE INTO event (id, at_ms, day, kind, label, camera, details, picture) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.id,
            at_ms,
            event.time[:10],
            event.kind,
            event.label,
            event.camera,
            msgspec.json.encode(event).decode(),
            picture,
        ),
    )


def purge(connection: sqlite3.Connection, limits: Limits, now_ms: int) -> int:
    """Remove what exceeds the limits, inside a transaction; return the number of events."""
    before = connection.total_changes
    oldest_ms = now_ms - round(limits.days * DAY_MS)
    removed = connection.execute("DELETE FROM event WHERE at_ms < ?", (oldest_ms,)).rowcount
    removed += connection.execute(
        "DELETE FROM event WHERE number <= (SELECT max(number) FROM event) - ?", (limits.events,)
    ).rowcount
    if connection.total_changes != before:
        _remove_pictures(connection)
    most = limits.bytes
    while used_bytes(connection) > most:
        most = round(limits.bytes * (1 - AT_ONCE))
        (count,) = connection.execute("SELECT count(*) FROM event").fetchone()
        if not count:
            break
        removed += connection.execute(
            "DELETE FROM event WHERE number <= "
            "(SELECT number FROM event ORDER BY number LIMIT 1 OFFSET ?)",
            (max(1, round(count * AT_ONCE)) - 1,),
        ).rowcount
        _remove_pictures(connection)
    return removed


def _remove_pictures(connection: sqlite3.Connection) -> None:
    """Remove the pictures that no event refers to: those before the first that one does."""
    (first,) = connection.execute("SELECT min(picture) FROM event").fetchone()
    if first is None:
        connection.execute("DELETE FROM picture")
    else:
        connection.execute("DELETE FROM picture WHERE id < ?", (first,))


def mark(connection: sqlite3.Connection, event_id: str, wrong: Mark | None) -> bool:
    """Store the mark of an event, or remove it; return whether there is such an event."""
    text = None if wrong is None else msgspec.json.encode(wrong).decode()
    with transaction(connection):
        return bool(
            connection.execute("UPDATE event SET wrong = ? WHERE id = ?", (text, event_id)).rowcount
        )


def count_events(connection: sqlite3.Connection) -> int:
    """Return the number of stored events."""
    return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the pages that hold content."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    return _file_bytes(connection) - int(free) * int(page)


def _file_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page)
