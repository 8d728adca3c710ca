"""What a gallery shares with its fleet: the tables shared, shared_label and fleet.

A signed version names pictures; their codes are in `shared`. A picture that no version has named is
pending: a proposal of this board. `edge_runtime.fleet` applies versions.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.gallery.pictures import DIGEST_BYTES, KEY_SQL
from edge_runtime.gallery.rows import checksum_of

SHARED = "EXISTS (SELECT 1 FROM shared WHERE shared.item_id = item.id)"
PENDING = f"""
    NOT {SHARED} AND (digest IS NULL OR NOT EXISTS (
        SELECT 1 FROM item AS whole JOIN shared ON shared.item_id = whole.id
        WHERE whole.label_id = item.label_id
        AND whole.digest = substr(item.digest, 1, {DIGEST_BYTES})))"""
"""Which rows of the table item, as SQL. Further views of a shared picture are neither."""


@dataclass(frozen=True)
class FleetState:
    """The version that was applied last."""

    version: int
    content: str
    """Its content digest."""
    details: dict[str, Any] = field(default_factory=dict)


def read_fleet(connection: sqlite3.Connection) -> FleetState | None:
    """Return the state; None if there is none, or if it is corrupt: the full file repairs it."""
    row = connection.execute("SELECT version, content, details, checksum FROM fleet").fetchone()
    if row is None or row[3] != checksum_of(tuple(row[:3])):
        return None
    try:
        details = json.loads(row[2])
    except ValueError:
        return None
    return FleetState(row[0], row[1], details) if isinstance(details, dict) else None


def write_fleet(connection: sqlite3.Connection, state: FleetState) -> None:
    """Replace the state, inside a transaction."""
    row = (state.version, state.content, json.dumps(state.details, sort_keys=True))
    connection.execute(
        "INSERT OR REPLACE INTO fleet VALUES (1, ?, ?, ?, ?)", (*row, checksum_of(row))
    )


def forget_fleet(connection: sqlite3.Connection) -> None:
    """Delete the state and all marks, inside a transaction. The pictures stay."""
    for table in ("shared", "shared_label", "fleet"):
        connection.execute(f"DELETE FROM {table}")


def mark_shared(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Mark codes as named by a version, inside a transaction."""
    connection.executemany("INSERT OR IGNORE INTO shared VALUES (?)", ((each,) for each in ids))


def count_pending(connection: sqlite3.Connection) -> int:
    """Return the number of pending pictures."""
    (count,) = connection.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT label_id, {KEY_SQL} FROM item WHERE {PENDING})"
    ).fetchone()
    return int(count)


def shared_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield one line per fault of these tables."""
    for table, parent in (("shared", "item"), ("shared_label", "label")):
        (lost,) = connection.execute(
            f"SELECT count(*) FROM {table} WHERE {parent}_id NOT IN (SELECT id FROM {parent})"
        ).fetchone()
        if lost:
            yield f"fleet: {lost} marks of the table {table} belong to nothing"
    (states,) = connection.execute("SELECT count(*) FROM fleet").fetchone()
    if states and read_fleet(connection) is None:
        yield "fleet: the checksum of its version does not match"
