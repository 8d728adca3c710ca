"""Bring what is searched up to date with the database, loading only what changed."""

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


def bring_up_to_date(
    connection: sqlite3.Connection, path: Path, bits: int, known: Snapshot | None
) -> Snapshot:
    """The gallery as it is in the current transaction; `known` is an earlier state, if any.

    Raises `GalleryDamagedError` for a row that is not what was written.
    """
    generation = latest_generation(connection)
    labels = {}
    for label in read_labels(connection):
        if not label.intact():
            raise damaged(path, f"the checksum of label {label.id} does not match")
        labels[label.id] = label.name
    if known is None or not in_history(connection, known.generation):
        known = empty(bits)
    gone, relabelled = [], {}
    for (item_id,) in connection.execute(
        "SELECT DISTINCT item_id FROM change WHERE generation > ? AND item_id <= ?",
        (known.generation.number, known.last_id),
    ):
        row = next(read_items(connection, "WHERE id = ?", (item_id,)), None)
        if row is None:
            gone.append(item_id)
        else:
            _check([row], labels, bits, path)
            relabelled[item_id] = row.label_id
    new = list(read_items(connection, "WHERE id > ?", (known.last_id,)))
    _check(new, labels, bits, path)
    columns = _columns(connection, path, bits, known.last_id, new)
    return known.changed(generation, labels, np.array(gone, np.int64), relabelled, columns)


def _check(rows: list[ItemRow], labels: dict[int, str], bits: int, path: Path) -> None:
    width = 8 * words_of(bits)
    for row in rows:
        if not row.intact(width) or row.label_id not in labels:
            raise damaged(path, f"the checksum of item {row.id} does not match")


def _columns(
    connection: sqlite3.Connection, path: Path, bits: int, last: int, rows: list[ItemRow]
) -> Columns:
    """Of `rows`, which are all items after the id `last`."""
    ids = np.array([row.id for row in rows], np.int64)
    codes = np.frombuffer(b"".join(row.code for row in rows), dtype="<u8")
    places = None
    positions = list(read_positions(connection, last))
    if positions:
        places = np.full((len(rows), 3), np.nan)
        for item_id, position in positions:
            at = int(np.searchsorted(ids, item_id))
            if position is None or at == len(ids) or ids[at] != item_id:
                raise damaged(path, f"the checksum of item {item_id}'s position does not match")
            places[at] = position.to_row()
    return Columns(
        ids,
        np.array([row.label_id for row in rows], np.uint32),
        codes.reshape(len(rows), words_of(bits)).astype(np.uint64, copy=False),
        places,
    )
