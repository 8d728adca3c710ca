"""Look after a gallery's files: verify, repair, compact."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.errors import GalleryDamagedError
from edge_runtime.gallery.refresh import bring_up_to_date
from edge_runtime.gallery.rows import (
    ITEM_COLUMNS,
    ItemRow,
    LabelRow,
    Meta,
    begin_generation,
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
from edge_runtime.gallery.snapshot_file import load_snapshot, snapshot_path
from edge_runtime.position import Position

T = TypeVar("T")


def verify(path: Path) -> list[str]:
    """What is wrong with the gallery at `path`, a line each; empty: it is what was written.

    Reads everything: SQLite's own structures, the checksum of every row, and the snapshot against
    the rows. Raises `GalleryNotFoundError` or `StorageError`.
    """
    try:
        connection = connect(path, create=False, read_only=True)
    except GalleryDamagedError as error:
        return [error.what]
    try:
        with translated(path), transaction(connection, "DEFERRED"):
            return list(_findings(connection, path))
    except GalleryDamagedError as error:
        return [error.what]
    finally:
        connection.close()


def _findings(connection: sqlite3.Connection, path: Path) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"
    if not has_expected_tables(connection):
        yield "its tables are not those of this version"
        return
    try:
        meta = read_meta(connection)
    except ValueError as error:
        yield f"whose codes it holds cannot be told: {error}"
        return
    if meta is None:
        yield "it does not say which model it belongs to"
        return
    known = set()
    for label in read_labels(connection):
        known.add(label.id)
        if not label.intact():
            yield f"label {label.id}: the checksum does not match"
    for label_id, jpeg in read_thumbnails(connection):
        if jpeg is None or label_id not in known:
            yield f"label {label_id}: the checksum of its thumbnail does not match"
    sound = True
    ids = set()
    for row in read_items(connection):
        ids.add(row.id)
        if not row.intact(8 * words_of(meta.bits)):
            sound = False
            yield f"item {row.id}: the checksum does not match"
        elif row.label_id not in known:
            sound = False
            yield f"item {row.id}: its label {row.label_id} is missing"
    for item_id, position in read_positions(connection):
        if position is None or item_id not in ids:
            sound = False
            yield f"item {item_id}: the checksum of its position does not match"
    file = snapshot_path(path)
    if sound and file.exists():
        snapshot = load_snapshot(file, meta.model_id, meta.bits)
        if snapshot is None:
            yield f"{file.name}: damaged (it will be made anew)"
        else:
            current = bring_up_to_date(connection, path, meta.bits, snapshot).columns()
            truth = bring_up_to_date(connection, path, meta.bits, None).columns()
            for column in fields(truth):
                mine, theirs = getattr(current, column.name), getattr(truth, column.name)
                if not _equal(mine, theirs):
                    yield f"{file.name}: its {column.name} are not those of the database"


def _equal(mine: Any, theirs: Any) -> bool:
    """Whether two columns hold the same; none, and nothing but NaN, are the same."""
    mine, theirs = (
        None if one is None or (one.dtype.kind == "f" and np.isnan(one).all()) else one
        for one in (mine, theirs)
    )
    if mine is None or theirs is None:
        return mine is theirs
    return np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")


@dataclass(frozen=True)
class Repair:
    """What a repair kept and lost."""

    kept: int
    lost: list[int]
    """Ids of items that could be seen but not trusted; others may have been lost unseen."""
    old: str
    """Where the damaged file was moved to; empty where nothing had to be repaired."""


def repair(path: Path) -> Repair:
    """Save every row that is what was written into a new file in place of the old one.

    The damaged file is kept beside it. Nobody else may have the gallery open meanwhile. Raises
    `GalleryDamagedError` when it cannot be told whose codes they are.
    """
    file = snapshot_path(path)
    findings = verify(path)
    if all(line.startswith(file.name) for line in findings):
        if findings:
            file.unlink()
        with translated(path), closing(connect(path, create=False, read_only=True)) as sound:
            (kept,) = sound.execute("SELECT count(*) FROM item").fetchone()
        return Repair(kept, [], "")
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        with translated(path):
            # Inside: a damaged file may open only with its schema taken on trust.
            connection.execute("PRAGMA writable_schema = ON")
            saved = _salvage(connection, path)
            connection.execute("PRAGMA writable_schema = OFF")
    finally:
        connection.close()
    fresh = path.with_name(f"{path.name}.{os.getpid()}.repaired")
    _write_anew(fresh, saved)
    with translated(path):
        old = set_aside(path)
        fresh.replace(path)
    return Repair(len(saved.rows), saved.lost, str(old))


def set_aside(path: Path) -> Path:
    """Move a damaged gallery away, with the files beside it that are its own; gives where to."""
    old = path.with_name(path.name + ".damaged")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(old.with_name(old.name + suffix))
    snapshot_path(path).unlink(missing_ok=True)
    return old


@dataclass
class _Saved:
    """What of a damaged gallery can be trusted."""

    meta: Meta
    labels: list[LabelRow] = field(default_factory=list)
    rows: list[ItemRow] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    thumbnails: list[tuple[int, bytes]] = field(default_factory=list)
    positions: list[tuple[int, Position]] = field(default_factory=list)


def _salvage(connection: sqlite3.Connection, path: Path) -> _Saved:
    try:
        meta = read_meta(connection)
    except (ValueError, sqlite3.DatabaseError) as error:
        raise damaged(path, f"whose codes it holds cannot be told: {error}") from error
    if meta is None:
        raise damaged(path, "it does not say which model it belongs to")
    saved = _Saved(meta)
    labels = {row.id: row for row in _until_unreadable(read_labels(connection)) if row.intact()}
    for row in _readable(connection, 1, 1 << 62):
        if row.intact(8 * words_of(meta.bits)) and row.label_id in labels:
            saved.rows.append(row)
        else:
            saved.lost.append(row.id)
    used, ids = {row.label_id for row in saved.rows}, {row.id for row in saved.rows}
    saved.labels = [labels[label_id] for label_id in sorted(used)]
    for label_id, jpeg in _until_unreadable(read_thumbnails(connection)):
        if jpeg is not None and label_id in used:
            saved.thumbnails.append((label_id, jpeg))
    for item_id, position in _until_unreadable(read_positions(connection)):
        if position is not None and item_id in ids:
            saved.positions.append((item_id, position))
    return saved


def _until_unreadable(rows: Iterator[T]) -> Iterator[T]:
    """What comes before a page that cannot be read; all, if there is none."""
    with suppress(sqlite3.DatabaseError):
        yield from rows


def _readable(connection: sqlite3.Connection, first: int, last: int) -> Iterator[ItemRow]:
    """Item rows with ids from `first` to `last`, around pages that cannot be read."""
    try:
        rows = connection.execute(
            f"SELECT {ITEM_COLUMNS} FROM item NOT INDEXED WHERE id BETWEEN ? AND ? ORDER BY id",
            (first, last),
        ).fetchall()
    except (sqlite3.DatabaseError, OverflowError):
        if last - first < 1:
            return
        middle = first + (last - first) // 2
        yield from _readable(connection, first, middle)
        yield from _readable(connection, middle + 1, last)
        return
    for row in rows:
        yield ItemRow(*row)


def _write_anew(path: Path, saved: _Saved) -> None:
    path.unlink(missing_ok=True)
    connection = connect(path, create=True, read_only=False)
    try:
        with translated(path), transaction(connection):
            write_meta(connection, saved.meta)
            for label in saved.labels:
                write_label(connection, (label.id, label.name, label.payload))
            for label_id, jpeg in saved.thumbnails:
                write_thumbnail(connection, label_id, jpeg)
            for created_at, rows in groupby(saved.rows, attrgetter("created_at")):
                write_items(connection, (row[:5] for row in rows), created_at)
            write_positions(connection, saved.positions)
            begin_generation(connection)
        with translated(path):  # one file, so that one rename puts it in place
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def compact(path: Path) -> tuple[int, int]:
    """Give back the space of what was removed; gives the file's size before and after, bytes."""
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
