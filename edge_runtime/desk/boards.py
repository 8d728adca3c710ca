"""The boards of a fleet, as they report themselves. Nothing of it is verified."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from edge_runtime.desk.store import Store
from edge_runtime.system.printable import printable

MOST_TEXT = 300


@dataclass(frozen=True)
class Board:
    """What one board last said."""

    name: str
    version: int
    behind: int
    """Versions that it lacks."""
    release: str
    model_id: str
    ready: bool | None
    pending: int
    """Pictures that no version has named."""
    complaints: int
    """Events of the last 30 days that people marked as wrong."""
    clock: str
    error: str
    since: str
    """Since when it has this version."""
    first_seen: float
    last_seen: float
    """Seconds since 1970, by the desk's clock."""


def boards_of(store: Store) -> list[Board]:
    """Return all boards by name; raises `DeskError` or `StorageError`."""
    last = store.last_version()
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT name, first_seen, last_seen, version, status FROM board ORDER BY name"
        ).fetchall()
    return [_board(last, *row) for row in rows]


def _board(
    last: int, name: str, first_seen: float, last_seen: float, version: int, status: str
) -> Board:
    said: dict[str, Any] = json.loads(status)
    ready = said.get("ready")
    return Board(
        name,
        version,
        max(0, last - version),
        _text(said.get("release")),
        _text(said.get("model_id")),
        ready if isinstance(ready, bool) else None,
        _count(said.get("pending")),
        _count(said.get("complaints")),
        _text(said.get("clock")),
        _text(said.get("error")),
        _text(said.get("since")),
        first_seen,
        last_seen,
    )


def _text(value: object) -> str:
    if value is None or value is False:
        return ""
    return printable(str(value))[:MOST_TEXT]


def _count(value: object) -> int:
    if isinstance(value, list | dict):
        return len(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return max(0, min(int(value), 2**53))
    return 0
