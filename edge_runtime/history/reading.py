"""What is read from the history. Each call opens the file again, as it may have been replaced."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from edge_runtime.database.side_file import SideFile
from edge_runtime.history.file import Mark
from edge_runtime.types import Event

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Filter:
    """Which events are asked for; an empty value means any."""

    label: str = ""
    camera: str = ""
    kind: str = ""
    day: str = ""
    """YYYY-MM-DD, in the board's time zone when the event happened."""


@dataclass(frozen=True)
class StoredEvent:
    """An event of the history."""

    number: int
    """Ascending in the order of storing."""
    event: Event
    snapshot: bool
    """Whether there is a picture of it."""
    wrong: Mark | None
    """None unless it was marked as wrong."""

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        wrong = None if self.wrong is None else asdict(self.wrong)
        return {**asdict(self.event), "snapshot": self.snapshot, "wrong": wrong}


def newest(
    file: SideFile, wanted: Filter, limit: int, before: str = ""
) -> tuple[list[StoredEvent], bool]:
    """Return up to `limit` events, newest first, and whether there are more.

    `before`: only those stored before the event with this id. Raises `StorageError` or
    `DamagedError`.
    """
    condition, values = _condition(wanted)
    if before:
        condition += " AND number < (SELECT number FROM event WHERE id = ?)"
        values.append(before)
    query = f"{_SELECT} WHERE {condition} ORDER BY number DESC LIMIT ?"
    rows = _read(file, query, [*values, limit + 1])
    return list(_events(rows[:limit])), len(rows) > limit


def oldest(file: SideFile, wanted: Filter, after: int, limit: int) -> tuple[list[StoredEvent], int]:
    """Return up to `limit` events with numbers above `after`, oldest first, and the last number.

    The number is -1 if there are no more.
    """
    condition, values = _condition(wanted)
    query = f"{_SELECT} WHERE {condition} AND number > ? ORDER BY number LIMIT ?"
    rows = _read(file, query, [*values, after, limit])
    return list(_events(rows)), int(rows[-1][0]) if len(rows) == limit else -1


def find(file: SideFile, event_id: str) -> StoredEvent | None:
    """Return one event; None if it is not stored."""
    query = f"{_SELECT} WHERE id = ?"
    rows = _read(file, query, [event_id])
    return next(_events(rows), None)


def picture(file: SideFile, event_id: str) -> bytes:
    """Return the picture of an event as a JPEG; empty if there is none."""
    query = "SELECT jpeg FROM picture JOIN event ON picture = picture.id WHERE event.id = ?"
    rows = _read(file, query, [event_id])
    return rows[0][0] if rows and isinstance(rows[0][0], bytes) else b""


def days(file: SideFile) -> dict[str, dict[str, int]]:
    """Return how often each label came into view on each day, the newest day first."""
    query = (
        "SELECT day, label, count(*) FROM event WHERE kind = 'enter' "
        "GROUP BY day, label ORDER BY day DESC, label"
    )
    found: dict[str, dict[str, int]] = {}
    for day, label, count in _read(file, query):
        found.setdefault(str(day), {})[str(label)] = count
    return found


def count_wrong(file: SideFile, since_s: float) -> int:
    """Return how many events since `since_s` (seconds since 1970) were marked as wrong."""
    query = "SELECT count(*) FROM event WHERE at_ms >= ? AND wrong NOT NULL"
    rows = _read(file, query, [round(since_s * 1000)])
    return int(rows[0][0]) if rows else 0


_SELECT = "SELECT number, details, picture IS NOT NULL, wrong FROM event"


def _condition(wanted: Filter) -> tuple[str, list[object]]:
    given = {name: value for name, value in asdict(wanted).items() if value}
    return " AND ".join(["1", *(f"{name} = ?" for name in given)]), list(given.values())


def _events(rows: Sequence[tuple[Any, ...]]) -> Iterator[StoredEvent]:
    """Yield the events of rows. One that cannot be read is left out: the others still count."""
    for number, details, snapshot, wrong in rows:
        try:
            event = msgspec.json.decode(details, type=Event)
            marked = None if wrong is None else msgspec.json.decode(wrong, type=Mark)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            log.warning("history: event %s cannot be read: %s", number, error)
            continue
        yield StoredEvent(number, event, bool(snapshot), marked)


def _read(file: SideFile, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of `query`; none if there is no file yet."""
    with file.translated():
        connection = file.open_to_read()
        if connection is None:
            return []
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()
