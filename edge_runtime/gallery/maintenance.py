"""Verify and compact a gallery."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.database.transaction import transaction
from edge_runtime.errors import GalleryDamagedError
from edge_runtime.gallery.features.fitted import (
    fit_faults,
)
from edge_runtime.gallery.features.rows import (
    read_features,
    read_pictures,
)
from edge_runtime.gallery.rows import (
    forget_history,
    read_items,
    read_labels,
    read_meta,
    read_positions,
    read_thumbnails,
)
from edge_runtime.gallery.schema import connect, translated
from edge_runtime.gallery.shared import shared_faults
from edge_runtime.gallery.snapshot.file import is_outdated, load_snapshot, snapshot_path
from edge_runtime.gallery.snapshot.update import update_snapshot
from edge_runtime.gallery.sound.rows import sound_faults
from edge_runtime.system.files import not_regular


def verify(path: Path) -> list[str]:
    """Return one line per fault of the gallery at `path`; none if it is intact.

    Checks everything: SQLite's own structures, the checksum of every row, and the snapshot file
    against the rows. Writes nothing: the file of an older version stays as it is. Raises
    `GalleryNotFoundError` or `StorageError`.
    """
    try:
        connection = connect(path, create=False, read_only=True, migrate=False)
    except GalleryDamagedError as error:
        return [error.what]
    try:
        with translated(path), transaction(connection, "DEFERRED"):
            return list(_faults(connection, path))
    except GalleryDamagedError as error:
        return [error.what]
    finally:
        connection.close()


def _faults(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"
    try:
        meta = read_meta(connection)
    except ValueError as error:
        yield f"cannot read which model it belongs to: {error}"
        return
    if meta is None:
        yield "the model that it belongs to is not recorded"
        return
    known = set()
    for label in read_labels(connection):
        known.add(label.id)
        if not label.intact():
            yield f"label {label.id}: the checksum does not match"
    for label_id, jpeg in read_thumbnails(connection):
        if jpeg is None or label_id not in known:
            yield f"label {label_id}: the checksum of its thumbnail does not match"
    yield from sound_faults(connection, known)
    intact = True
    ids = set()
    for row in read_items(connection):
        ids.add(row.id)
        if not row.intact(8 * words_of(meta.bits)):
            intact = False
            yield f"code {row.id}: the checksum does not match"
        elif row.label_id not in known:
            intact = False
            yield f"code {row.id}: its label {row.label_id} is missing"
    for item_id, position in read_positions(connection):
        if position is None or item_id not in ids:
            intact = False
            yield f"code {item_id}: the checksum of its position does not match"
    features = ((row.item_id, "features", row.intact()) for row in read_features(connection))
    pictures = ((i, "kept picture", jpeg is not None) for i, jpeg in read_pictures(connection))
    for item_id, what, matches in chain(features, pictures):
        if not matches:
            yield f"code {item_id}: the checksum of its {what} does not match"
        elif item_id not in ids:
            yield f"code {item_id}: it has {what}, but is missing"
    yield from fit_faults(connection)
    yield from shared_faults(connection)
    file = snapshot_path(path)
    if kind := not_regular(file):
        yield f"{file.name}: this is {kind}, not a regular file"
    elif intact and file.exists() and not is_outdated(file):
        snapshot = load_snapshot(file, meta.model_id, meta.bits)
        if snapshot is None:
            yield f"{file.name}: corrupt (it will be rebuilt)"
        else:
            updated = update_snapshot(connection, path, meta.bits, snapshot)
            anew = update_snapshot(connection, path, meta.bits, None)
            if updated.labels != anew.labels:
                yield f"{file.name}: its labels differ from the database"
            current, expected = updated.columns(), anew.columns()
            for column in fields(expected):
                if not _equal(getattr(current, column.name), getattr(expected, column.name)):
                    yield f"{file.name}: its {column.name} differ from the database"


def _equal(left: Any, right: Any) -> bool:
    """Return whether two columns are equal. A column of NaN equals a missing column."""
    left, right = (
        None if column is None or (column.dtype.kind == "f" and np.isnan(column).all()) else column
        for column in (left, right)
    )
    if left is None or right is None:
        return left is right
    return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")


def set_aside(path: Path) -> Path:
    """Rename a corrupt gallery and the files beside it; return its new path."""
    old = path.with_name(path.name + ".damaged")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(old.with_name(old.name + suffix))
    snapshot_path(path).unlink(missing_ok=True)
    return old


def compact(path: Path) -> tuple[int, int]:
    """Release the space of removed rows; return the file's size before and after, in bytes."""
    connection = connect(path, create=False, read_only=False)
    try:
        with translated(path):
            before = path.stat().st_size
            with transaction(connection):
                forget_history(connection)
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return before, path.stat().st_size
    finally:
        connection.close()
