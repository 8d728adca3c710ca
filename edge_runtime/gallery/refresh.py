"""Bring what is scanned up to date with the database, loading only what changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, words_of
from edge_runtime.gallery.rows import (
    BEGINNING,
    ItemRow,
    in_history,
    latest_generation,
    read_items,
    read_labels,
)
from edge_runtime.gallery.schema import damaged
from edge_runtime.gallery.snapshot import Snapshot
from edge_runtime.lookup import Lookup


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
        known = _nothing(bits)
        gone = np.empty(0, np.int64)
    else:
        touched = connection.execute(
            "SELECT DISTINCT item_id FROM change WHERE generation > ?", (known.generation.number,)
        )
        gone = np.array([row[0] for row in touched], np.int64)
    last = int(known.ids[-1]) if len(known.ids) else 0
    new = list(read_items(connection, "WHERE id > ?", (last,)))
    for item_id in gone[gone <= last].tolist():  # those that got another label are still there
        new += read_items(connection, "WHERE id = ?", (item_id,))
    if not new and not len(gone):
        return Snapshot(generation, known.ids, known.label_ids, known.lookup, labels)
    return known.changed(generation, labels, gone, _arrays(new, labels, bits, path))


def _nothing(bits: int) -> Snapshot:
    empty = np.empty(0, np.int64)
    return Snapshot(
        BEGINNING, empty, empty, Lookup(np.empty((0, words_of(bits)), np.uint64), bits), {}
    )


def _arrays(
    rows: list[ItemRow], labels: dict[int, str], bits: int, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64], Code]:
    for row in rows:
        if not row.intact(8 * words_of(bits)) or row.label_id not in labels:
            raise damaged(path, f"the checksum of item {row.id} does not match")
    codes = np.frombuffer(b"".join(row.code for row in rows), dtype="<u8")
    return (
        np.array([row.id for row in rows], np.int64),
        np.array([row.label_id for row in rows], np.int64),
        codes.reshape(len(rows), words_of(bits)).astype(np.uint64, copy=False),
    )
