"""Verify, repair and compact a gallery."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.errors import GalleryDamagedError
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.metric import FittedMetric
from edge_runtime.gallery.features.fitted import (
    read_layer,
    read_metric,
    read_outcome,
    write_layer,
    write_metric,
)
from edge_runtime.gallery.features.rows import (
    read_features,
    read_pictures,
    write_features,
    write_pictures,
)
from edge_runtime.gallery.rows import (
    ITEM_COLUMNS,
    ItemRow,
    LabelRow,
    Meta,
    begin_generation,
    checksum_of,
    forget_history,
    read_items,
    read_labels,
    read_meta,
    read_positions,
    read_thumbnails,
    write_items,
    write_label,
    write_meta,
    write_positions,
    write_thumbnail,
)
from edge_runtime.gallery.schema import (
    connect,
    damaged,
    has_expected_tables,
    transaction,
    translated,
)
from edge_runtime.gallery.snapshot.file import is_outdated, load_snapshot, snapshot_path
from edge_runtime.gallery.snapshot.update import update_snapshot
from edge_runtime.position import Position

T = TypeVar("T")
_ITEMS = f"SELECT {ITEM_COLUMNS} FROM item NOT INDEXED WHERE id BETWEEN ? AND ? ORDER BY id"
_FEATURES = (
    "SELECT item_id, value, checksum FROM feature WHERE item_id BETWEEN ? AND ? ORDER BY item_id"
)
_PICTURES = (
    "SELECT item_id, jpeg, checksum FROM picture WHERE item_id BETWEEN ? AND ? ORDER BY item_id"
)
_PART = 1024
"""Ids whose features or pictures are in memory at a time during a repair."""


def verify(path: Path) -> list[str]:
    """Return one line per fault of the gallery at `path`; none if it is intact.

    Checks everything: SQLite's own structures, the checksum of every row, and the snapshot file
    against the rows. Raises `GalleryNotFoundError` or `StorageError`.
    """
    try:
        connection = connect(path, create=False, read_only=True)
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
    if not has_expected_tables(connection):
        yield "the tables do not match the schema version"
        return
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
    parts = (("layer", read_layer), ("metric", read_metric), ("outcome", read_outcome))
    for part, read in parts:
        try:
            read(connection)
        except ValueError as error:
            yield f"fitted {part}: {error}"
    file = snapshot_path(path)
    if intact and file.exists() and not is_outdated(file):
        snapshot = load_snapshot(file, meta.model_id, meta.bits)
        if snapshot is None:
            yield f"{file.name}: corrupt (it will be rebuilt)"
        else:
            current = update_snapshot(connection, path, meta.bits, snapshot).columns()
            expected = update_snapshot(connection, path, meta.bits, None).columns()
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


@dataclass(frozen=True)
class Repair:
    """The outcome of a repair."""

    codes_kept: int
    codes_lost: list[int]
    """Ids of codes whose checksum does not match. Codes on unreadable pages are not listed."""
    old: str
    """The new path of the corrupt file; empty if no repair was necessary."""


def repair(path: Path) -> Repair:
    """Copy every intact row to a new file that takes the place of the old one.

    The corrupt file is kept beside it. No other process may have the gallery open. Raises
    `GalleryDamagedError` if the model that the codes belong to cannot be read.
    """
    file = snapshot_path(path)
    faults = verify(path)
    if all(line.startswith(file.name) for line in faults):
        if faults:
            file.unlink()
        with translated(path), closing(connect(path, create=False, read_only=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM item").fetchone()
        return Repair(count, [], "")
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        with translated(path):
            # Within `translated`: opening a corrupt file can fail. It may open only if SQLite does
            # not check its schema.
            connection.execute("PRAGMA writable_schema = ON")
            salvaged = _salvage(connection, path)
            fresh = path.with_name(f"{path.name}.{os.getpid()}.repaired")
            _write(fresh, salvaged, connection)
            connection.execute("PRAGMA writable_schema = OFF")
    finally:
        connection.close()
    with translated(path):
        old = set_aside(path)
        fresh.replace(path)
    return Repair(len(salvaged.rows), salvaged.lost, str(old))


def set_aside(path: Path) -> Path:
    """Rename a corrupt gallery and the files beside it; return its new path."""
    old = path.with_name(path.name + ".damaged")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(old.with_name(old.name + suffix))
    snapshot_path(path).unlink(missing_ok=True)
    return old


@dataclass
class _Salvaged:
    """The intact rows of a corrupt gallery."""

    meta: Meta
    labels: list[LabelRow] = field(default_factory=list)
    rows: list[ItemRow] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    thumbnails: list[tuple[int, bytes]] = field(default_factory=list)
    positions: list[tuple[int, Position]] = field(default_factory=list)
    layer: tuple[HashLayer, dict[str, Any]] | None = None
    metric: FittedMetric | None = None


def _salvage(connection: sqlite3.Connection, path: Path) -> _Salvaged:
    try:
        meta = read_meta(connection)
    except (ValueError, sqlite3.DatabaseError) as error:
        raise damaged(path, f"cannot read which model it belongs to: {error}") from error
    if meta is None:
        raise damaged(path, "the model that it belongs to is not recorded")
    salvaged = _Salvaged(meta)
    labels = {row.id: row for row in _until_unreadable(read_labels(connection)) if row.intact()}
    for row in map(ItemRow._make, _readable(connection, _ITEMS, 1, 1 << 62)):
        if row.intact(8 * words_of(meta.bits)) and row.label_id in labels:
            salvaged.rows.append(row)
        else:
            salvaged.lost.append(row.id)
    used, ids = {row.label_id for row in salvaged.rows}, {row.id for row in salvaged.rows}
    salvaged.labels = [labels[label_id] for label_id in sorted(used)]
    for label_id, jpeg in _until_unreadable(read_thumbnails(connection)):
        if jpeg is not None and label_id in used:
            salvaged.thumbnails.append((label_id, jpeg))
    for item_id, position in _until_unreadable(read_positions(connection)):
        if position is not None and item_id in ids:
            salvaged.positions.append((item_id, position))
    with suppress(ValueError, sqlite3.DatabaseError):
        layer, details, _ = read_layer(connection)
        salvaged.layer = None if layer is None else (layer, details or {})
    with suppress(ValueError, sqlite3.DatabaseError):
        salvaged.metric, _ = read_metric(connection)
    return salvaged


def _until_unreadable(rows: Iterator[T]) -> Iterator[T]:
    """Yield rows up to the first page that cannot be read."""
    with suppress(sqlite3.DatabaseError):
        yield from rows


def _readable(
    connection: sqlite3.Connection, query: str, first: int, last: int
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows with ids from `first` to `last`, skipping pages that cannot be read."""
    try:
        rows = connection.execute(query, (first, last)).fetchall()
    except (sqlite3.DatabaseError, OverflowError):
        if last - first < 1:
            return
        middle = first + (last - first) // 2
        yield from _readable(connection, query, first, middle)
        yield from _readable(connection, query, middle + 1, last)
        return
    yield from rows


def _of_codes(
    connection: sqlite3.Connection, query: str, ids: set[int]
) -> Iterator[tuple[int, bytes]]:
    """Yield the intact blobs that are stored with these codes, a few at a time in memory."""
    try:
        connection.execute(query, (0, 0))
    except sqlite3.DatabaseError:  # an older schema, or no such table any longer
        return
    for first in range(1, max(ids, default=0) + 1, _PART):
        for item_id, blob, checksum in _readable(connection, query, first, first + _PART - 1):
            if item_id in ids and checksum == checksum_of((item_id, blob)):
                yield item_id, blob


def _write(path: Path, salvaged: _Salvaged, source: sqlite3.Connection) -> None:
    """Write the salvaged rows to `path`, and the features and pictures that `source` has."""
    ids = {row.id for row in salvaged.rows}
    path.unlink(missing_ok=True)
    connection = connect(path, create=True, read_only=False)
    try:
        with translated(path), transaction(connection):
            write_meta(connection, salvaged.meta)
            for label in salvaged.labels:
                write_label(connection, (label.id, label.name, label.payload))
            for label_id, jpeg in salvaged.thumbnails:
                write_thumbnail(connection, label_id, jpeg)
            for created_at, rows in groupby(salvaged.rows, attrgetter("created_at")):
                write_items(connection, (row[:5] for row in rows), created_at)
            write_positions(connection, salvaged.positions)
            values = _of_codes(source, _FEATURES, ids)
            write_features(connection, ((i, np.frombuffer(value, np.int8)) for i, value in values))
            write_pictures(connection, _of_codes(source, _PICTURES, ids))
            if salvaged.layer is not None:
                write_layer(connection, *salvaged.layer)
            if salvaged.metric is not None:
                write_metric(connection, salvaged.metric)
            begin_generation(connection)
        with translated(path):  # a single file can be renamed atomically
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


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
