"""Update a snapshot from the database, reading only what has changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.gallery.rows import (
    ItemRow,
    in_history,
    latest_generation,
    read_items,
    read_labels,
    read_positions,
)
from edge_runtime.gallery.schema import damaged
from edge_runtime.gallery.snapshot import Columns, Snapshot, empty


def update_snapshot(
    connection: sqlite3.Connection, path: Path, bits: int, earlier: Snapshot | None
) -> Snapshot:
    """Return the gallery as the current transaction sees it, starting from `earlier`, if given.

    Raises `GalleryDamagedError` if the checksum of a row does not match.
    """
    generation = latest_generation(connection)
    labels = {}
    for label in read_labels(connection):
        if not label.intact():
            raise damaged(path, f"the checksum of label {label.id} does not match")
        labels[label.id] = label.name
    if earlier is None or not in_history(connection, earlier.generation):
        earlier = empty(bits)
    removed, relabeled = [], {}
    for (item_id,) in connection.execute(
        "SELECT DISTINCT item_id FROM change WHERE generation > ? AND item_id <= ?",
        (earlier.generation.number, earlier.last_id),
    ):
        row = next(read_items(connection, "WHERE id = ?", (item_id,)), None)
        if row is None:
            removed.append(item_id)
        else:
            _check([row], labels, bits, path)
            relabeled[item_id] = row.label_id
    new = list(read_items(connection, "WHERE id > ?", (earlier.last_id,)))
    _check(new, labels, bits, path)
    columns = _columns(connection, path, bits, earlier.last_id, new)
    return earlier.changed(generation, labels, np.array(removed, np.int64), relabeled, columns)


def _check(rows: list[ItemRow], labels: dict[int, str], bits: int, path: Path) -> None:
    width = 8 * words_of(bits)
    for row in rows:
        if not row.intact(width) or row.label_id not in labels:
            raise damaged(path, f"the checksum of code {row.id} does not match")


def _columns(
    connection: sqlite3.Connection, path: Path, bits: int, last: int, rows: list[ItemRow]
) -> Columns:
    """Return `rows`, all rows after the id `last`, as columns."""
    ids = np.array([row.id for row in rows], np.int64)
    codes = np.frombuffer(b"".join(row.code for row in rows), dtype="<u8")
    positions = None
    new_positions = list(read_positions(connection, last))
    if new_positions:
        positions = np.full((len(rows), 3), np.nan)
        for item_id, position in new_positions:
            index = int(np.searchsorted(ids, item_id))
            if position is None or index == len(ids) or ids[index] != item_id:
                raise damaged(path, f"the checksum of code {item_id}'s position does not match")
            positions[index] = position.to_row()
    return Columns(
        ids,
        np.array([row.label_id for row in rows], np.uint32),
        codes.reshape(len(rows), words_of(bits)).astype(np.uint64, copy=False),
        positions,
    )
