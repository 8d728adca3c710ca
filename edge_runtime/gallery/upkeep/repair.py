"""Salvage the intact rows of a corrupt gallery."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.database.soundness import require_files, restrict, shown
from edge_runtime.database.transaction import transaction
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.metric import FittedMetric
from edge_runtime.gallery.features.fitted import (
    read_layer,
    read_metric,
    write_layer,
    write_metric,
)
from edge_runtime.gallery.features.rows import (
    write_features,
    write_pictures,
)
from edge_runtime.gallery.maintenance import set_aside, verify
from edge_runtime.gallery.rows import (
    ITEM_COLUMNS,
    ItemRow,
    LabelRow,
    Meta,
    begin_generation,
    checksum_of,
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
from edge_runtime.gallery.schema import connect, damaged, translated
from edge_runtime.gallery.shared import FleetState, mark_shared, read_fleet, write_fleet
from edge_runtime.gallery.snapshot.file import snapshot_path
from edge_runtime.gallery.sound.rows import StoredSound, read_sounds, write_sound
from edge_runtime.gallery.soundness import MOST_ID, MOST_LABEL_ID, runs_code
from edge_runtime.gallery.upkeep.ownership import check_can_give, create_like, ownership_of
from edge_runtime.position import Position
from edge_runtime.system.durable import sync_file, sync_folder

T = TypeVar("T")
_ITEMS = f"SELECT {ITEM_COLUMNS} FROM item NOT INDEXED WHERE id BETWEEN ? AND ? ORDER BY id"
_FEATURES = (
    "SELECT item_id, value, checksum FROM feature WHERE item_id BETWEEN ? AND ? ORDER BY item_id"
)
_PICTURES = (
    "SELECT item_id, jpeg, checksum FROM picture WHERE item_id BETWEEN ? AND ? ORDER BY item_id"
)
_FEW_IDS = 1_000_000
"""Ids that are tried if the highest one cannot be read."""
_PART = 1024
"""Codes whose features or pictures are in memory at a time during a repair."""


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
            with translated(file):
                file.unlink()
        with translated(path), closing(connect(path, create=False, read_only=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM item").fetchone()
        return Repair(count, [], "")
    require_files(path)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        with translated(path):
            # Within `translated`: opening a corrupt file can fail. It may open only if SQLite does
            # not check its schema.
            restrict(connection)
            connection.execute("PRAGMA writable_schema = ON")
            if active := runs_code(connection):
                raise damaged(
                    path, f"its schema may run code ({shown(active[0])} {shown(active[1])})"
                )
            ownership = ownership_of(path)
            check_can_give(path, ownership)
            salvaged = _salvage(connection, path)
            fresh = path.with_name(f"{path.name}.{os.getpid()}.repaired")
            fresh.unlink(missing_ok=True)
            if ownership is not None:
                create_like(fresh, ownership)
            _write(fresh, salvaged, connection)
            connection.execute("PRAGMA writable_schema = OFF")
    finally:
        connection.close()
    with translated(path):
        sync_file(fresh)
        old = set_aside(path)
        fresh.replace(path)
        sync_folder(path.parent)
    return Repair(len(salvaged.rows), salvaged.lost, str(old))


@dataclass
class _Salvaged:
    """The intact rows of a corrupt gallery."""

    meta: Meta
    labels: list[LabelRow] = field(default_factory=list)
    rows: list[ItemRow] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    thumbnails: list[tuple[int, bytes]] = field(default_factory=list)
    sounds: list[StoredSound] = field(default_factory=list)
    positions: list[tuple[int, Position]] = field(default_factory=list)
    layer: tuple[HashLayer, dict[str, Any]] | None = None
    metric: FittedMetric | None = None
    shared: list[int] = field(default_factory=list)
    shared_labels: list[int] = field(default_factory=list)
    fleet: FleetState | None = None


def _salvage(connection: sqlite3.Connection, path: Path) -> _Salvaged:
    try:
        meta = read_meta(connection)
    except (ValueError, sqlite3.DatabaseError) as error:
        raise damaged(path, f"cannot read which model it belongs to: {error}") from error
    if meta is None:
        raise damaged(path, "the model that it belongs to is not recorded")
    salvaged = _Salvaged(meta)
    labels = {
        row.id: row
        for row in _until_unreadable(read_labels(connection))
        if row.intact() and 0 < row.id <= MOST_LABEL_ID
    }
    for row in map(ItemRow._make, _readable(connection, _ITEMS, 1, _last_id(connection))):
        if row.intact(8 * words_of(meta.bits)) and row.label_id in labels:
            salvaged.rows.append(row)
        else:
            salvaged.lost.append(row.id)
    used, ids = {row.label_id for row in salvaged.rows}, {row.id for row in salvaged.rows}
    salvaged.labels = [labels[label_id] for label_id in sorted(used)]
    for label_id, jpeg in _until_unreadable(read_thumbnails(connection)):
        if jpeg is not None and label_id in used:
            salvaged.thumbnails.append((label_id, jpeg))
    with suppress(sqlite3.DatabaseError):
        for label_id in used:
            salvaged.sounds += read_sounds(connection, label_id)
    for item_id, position in _until_unreadable(read_positions(connection)):
        if position is not None and item_id in ids:
            salvaged.positions.append((item_id, position))
    with suppress(ValueError, sqlite3.DatabaseError):
        layer, details, _ = read_layer(connection)
        salvaged.layer = None if layer is None else (layer, details or {})
    with suppress(ValueError, sqlite3.DatabaseError):
        salvaged.metric, _ = read_metric(connection)
    with suppress(sqlite3.DatabaseError):  # an older schema has no such tables
        marked = connection.execute("SELECT item_id FROM shared")
        salvaged.shared = [each for (each,) in _until_unreadable(marked) if each in ids]
        marked = connection.execute("SELECT label_id FROM shared_label")
        salvaged.shared_labels = [each for (each,) in _until_unreadable(marked) if each in used]
        salvaged.fleet = read_fleet(connection)
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


def _last_id(connection: sqlite3.Connection) -> int:
    """Return the highest id that was assigned: without it, a cut file is searched forever."""
    with suppress(sqlite3.DatabaseError):
        (last,) = connection.execute(
            "SELECT max(seq) FROM sqlite_sequence WHERE name = 'item'"
        ).fetchone()
        if isinstance(last, int):
            return min(last, MOST_ID - 1)
    return _FEW_IDS


def _of_codes(
    connection: sqlite3.Connection, query: str, ids: set[int]
) -> Iterator[tuple[int, bytes]]:
    """Yield the intact blobs that are stored with these codes, a few at a time in memory."""
    try:
        connection.execute(query, (0, 0))
    except sqlite3.DatabaseError:  # an older schema, or no such table any longer
        return
    ordered = sorted(ids)  # not all numbers up to the largest, which a corrupt row may make huge
    for start in range(0, len(ordered), _PART):
        part = ordered[start : start + _PART]
        for item_id, blob, checksum in _readable(connection, query, part[0], part[-1]):
            if item_id in ids and checksum == checksum_of((item_id, blob)):
                yield item_id, blob


def _write(path: Path, salvaged: _Salvaged, source: sqlite3.Connection) -> None:
    """Write the salvaged rows to `path`, and the features and pictures that `source` has."""
    ids = {row.id for row in salvaged.rows}
    connection = connect(path, create=True, read_only=False)
    try:
        with translated(path), transaction(connection):
            write_meta(connection, salvaged.meta)
            for label in salvaged.labels:
                write_label(connection, (label.id, label.name, label.payload))
            for label_id, jpeg in salvaged.thumbnails:
                write_thumbnail(connection, label_id, jpeg)
            ids_of = {label.name: label.id for label in salvaged.labels}
            for sound in salvaged.sounds:
                write_sound(connection, ids_of[sound.label], sound.source, sound.fingerprints)
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
            mark_shared(connection, salvaged.shared)
            connection.executemany(
                "INSERT INTO shared_label VALUES (?)", [(each,) for each in salvaged.shared_labels]
            )
            if salvaged.fleet is not None:
                write_fleet(connection, salvaged.fleet)
            begin_generation(connection)
        with translated(path):  # a single file can be renamed atomically
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
