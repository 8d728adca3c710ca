"""Update a snapshot from the database, reading only what has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.gallery.pictures import first_ids, read_companions
from edge_runtime.gallery.rows import (
    ItemRow,
    LabelRow,
    in_history,
    latest_generation,
    read_items,
    read_labels,
    read_positions,
)
from edge_runtime.gallery.schema import damaged
from edge_runtime.gallery.snapshot.packed import Columns, Snapshot, empty

MANY = 1000
"""From this number of changed labels, all are read."""


def update_snapshot(
    connection: sqlite3.Connection, path: Path, bits: int, earlier: Snapshot | None
) -> Snapshot:
    """Return the gallery as the current transaction sees it, starting from `earlier`, if given.

    Raises `GalleryDamagedError` if the checksum of a row does not match.
    """
    generation = latest_generation(connection)
    if earlier is None or not in_history(connection, earlier.generation):
        earlier = empty(bits)
    touched = connection.execute(
        "SELECT DISTINCT item_id FROM change WHERE generation > ? AND item_id <= ?",
        (earlier.generation.number, earlier.last_id),
    )
    rows = {item_id: _read(connection, item_id) for (item_id,) in touched}
    moved = [row for row in rows.values() if row is not None]
    new = list(read_items(connection, "WHERE id > ?", (earlier.last_id,)))
    owners = earlier.owners(rows.keys()).union(row.label_id for row in (*moved, *new))
    labels = _labels(connection, path, earlier.labels, owners)
    _check([*moved, *new], labels, bits, path)
    # A picture changes if a row of it is removed, moved or added.
    for item_id in earlier.companions(rows.keys()):
        rows.setdefault(item_id, _read(connection, item_id))
    if earlier.last_id:
        for row in read_companions(connection, [*moved, *new], earlier.last_id):
            rows[row.id] = row
    kept = sorted(row for row in rows.values() if row is not None)
    firsts = first_ids([*kept, *new])
    return earlier.changed(
        generation,
        labels,
        np.array([item_id for item_id, row in rows.items() if row is None], np.int64),
        {row.id: row.label_id for row in moved},
        {row.id: first for row, first in zip(kept, firsts, strict=False)},
        _columns(connection, path, bits, earlier.last_id, new, firsts[len(kept) :]),
    )


def _labels(
    connection: sqlite3.Connection, path: Path, earlier: dict[int, str], owners: set[int]
) -> dict[int, str]:
    """Return the names of all labels, reading only those of `owners`, the labels with changes.

    A label exists as long as it has codes, and its name changes only with them.
    """
    changed: dict[int, str | None] = dict.fromkeys(owners)
    for label in _read_labels(connection, owners):
        if not label.intact():
            raise damaged(path, f"the checksum of label {label.id} does not match")
        changed[label.id] = label.name
    if all(earlier.get(number) == name for number, name in changed.items()):
        return earlier
    names = {**earlier, **changed}
    return {number: name for number, name in names.items() if name is not None}


def _read_labels(connection: sqlite3.Connection, ids: set[int]) -> Iterator[LabelRow]:
    if len(ids) > MANY:
        yield from (label for label in read_labels(connection) if label.id in ids)
    else:
        for number in ids:
            yield from read_labels(connection, number)


def _read(connection: sqlite3.Connection, item_id: int) -> ItemRow | None:
    return next(read_items(connection, "WHERE id = ?", (item_id,)), None)


def _check(rows: list[ItemRow], labels: dict[int, str], bits: int, path: Path) -> None:
    width = 8 * words_of(bits)
    for row in rows:
        if not row.intact(width) or row.label_id not in labels:
            raise damaged(path, f"the checksum of code {row.id} does not match")


def _columns(
    connection: sqlite3.Connection,
    path: Path,
    bits: int,
    last: int,
    rows: list[ItemRow],
    firsts: list[int],
) -> Columns:
    """Return `rows`, all rows after the id `last`, as columns.

    `firsts` are the ids of the first rows of their pictures.
    """
    ids = np.array([row.id for row in rows], np.int64)
    codes = np.frombuffer(b"".join(row.code for row in rows), dtype="<u8")
    pictures = np.array(firsts, np.int64)
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
        None if np.array_equal(pictures, ids) else pictures,
    )
