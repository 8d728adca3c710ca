"""The rows of the database. Each has a checksum over all of its values."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from edge_runtime.database.transaction import transaction
from edge_runtime.errors import (
    GalleryError,
    GalleryModelMismatchError,
    InputError,
    LabelError,
)
from edge_runtime.gallery.records import check_label
from edge_runtime.gallery.schema import damaged
from edge_runtime.gallery.schema.steps import PICTURE_INDEX
from edge_runtime.gallery.soundness import MOST_ID
from edge_runtime.model import ModelInfo, specialist_file
from edge_runtime.position import Position

ITEM_COLUMNS = "id, label_id, code, source, digest, created_at, checksum"
ROWS_PER_STATEMENT = 100
"""With six values per row: some builds of SQLite accept at most 999 per statement."""
REINDEX_RATIO = 5
"""Up to this number of existing rows per new row, the index is rebuilt instead of updated."""
MODEL_ID = re.compile(r"[\x21-\x7e]{1,64}")
MOST_BITS = 1 << 16
LABEL_COLUMNS = "id, name, payload, checksum"


class ItemRow(NamedTuple):
    """A row of the table item: one code."""

    id: int
    label_id: int
    code: bytes
    """Little-endian words."""
    source: str
    digest: bytes | None
    created_at: str
    checksum: int

    def intact(self, width: int) -> bool:
        """Return whether the checksum matches, the types too, and the code has `width` bytes."""
        return (
            isinstance(self.code, bytes)
            and len(self.code) == width
            and isinstance(self.source, str)
            and isinstance(self.created_at, str)
            and (self.digest is None or isinstance(self.digest, bytes))
            and self.checksum == checksum_of(self[:-1])
        )


class LabelRow(NamedTuple):
    """A row of the table label."""

    id: int
    name: str
    payload: str
    """JSON text, or empty."""
    checksum: int

    def intact(self) -> bool:
        """Return whether the checksum matches and the name is one that a label may have."""
        try:
            check_label(self.name)
        except (LabelError, TypeError):
            return False
        return isinstance(self.payload, str) and self.checksum == checksum_of(self[:-1])


def checksum_of(values: tuple[object, ...]) -> int:
    """Return the CRC-32 of values with their types, so that two of them cannot be confused."""
    return crc32(repr(values).encode("utf-8", "surrogatepass"))


def read_items(
    connection: sqlite3.Connection, where: str = "", values: tuple[object, ...] = ()
) -> Iterator[ItemRow]:
    """Yield rows of the table item in the order of their ids, without checking them."""
    for row in connection.execute(f"SELECT {ITEM_COLUMNS} FROM item {where} ORDER BY id", values):
        yield ItemRow(*row)


def read_labels(connection: sqlite3.Connection, number: int | None = None) -> Iterator[LabelRow]:
    """Yield rows of the table label in the order of their ids, without checking them.

    With `number`, only the label with this id.
    """
    where, values = ("", ()) if number is None else ("WHERE id = ?", (number,))
    for row in connection.execute(f"SELECT {LABEL_COLUMNS} FROM label {where} ORDER BY id", values):
        yield LabelRow(*row)


def write_items(
    connection: sqlite3.Connection,
    rows: Iterable[tuple[int, int, bytes, str, bytes | None]],
    created_at: str,
) -> None:
    """Insert rows that are given without their time of creation and their checksums.

    Each statement reads and writes the highest id that was ever assigned, and SQLite copies each
    bound text. Therefore many rows share one statement, and the time is a literal in its SQL.
    """
    rest = iter(rows)
    (time,) = connection.execute("SELECT quote(?)", (created_at,)).fetchone()
    end = f", {created_at!r})"
    while chunk := list(islice(rest, ROWS_PER_STATEMENT)):
        values: list[object] = []
        for item_id, label_id, code, source, digest in chunk:
            # The same as `checksum_of`, in a tenth of the time since no tuple is built.
            text = f"({item_id}, {label_id}, {code!r}, {source!r}, {digest!r}{end}"
            checksum = crc32(text.encode("utf-8", "surrogatepass"))
            values += item_id, label_id, code, source, digest, checksum
        marks = ", ".join([f"(?, ?, ?, ?, ?, {time}, ?)"] * len(chunk))
        connection.execute(f"INSERT INTO item ({ITEM_COLUMNS}) VALUES {marks}", values)


def without_index(connection: sqlite3.Connection, count: int) -> AbstractContextManager[None]:
    """Return a context in which `count` new rows are inserted, inside a transaction.

    Each new entry of the index goes to a different page, and loading a page that has left the
    processor's cache costs more than the row. If the new rows are a large part of all, rebuilding
    the index afterwards is several times faster (`python -m profiles.bench.gallery`).
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM item").fetchone()
    return _rebuilt_index(connection) if last <= REINDEX_RATIO * count else nullcontext()


@contextmanager
def _rebuilt_index(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("DROP INDEX item_picture")
    yield
    connection.execute(PICTURE_INDEX)


def write_label(connection: sqlite3.Connection, row: tuple[int, str, str]) -> None:
    """Insert or replace a label that is given without its checksum."""
    connection.execute(
        f"INSERT INTO label ({LABEL_COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
        "SET name = excluded.name, payload = excluded.payload, checksum = excluded.checksum",
        (*row, checksum_of(row)),
    )


def read_positions(
    connection: sqlite3.Connection, after: int = 0, last: int = MOST_ID
) -> Iterator[tuple[int, Position | None]]:
    """Yield ids above `after`, up to `last`, with their positions.

    The position is None where the checksum does not match.
    """
    for *values, checksum in connection.execute(
        "SELECT item_id, latitude, longitude, heading, checksum FROM position "
        "WHERE item_id > ? AND item_id <= ? ORDER BY item_id",
        (after, last),
    ):
        try:
            intact = checksum == checksum_of(tuple(values))
            yield values[0], Position(*values[1:]) if intact else None
        except (InputError, TypeError):
            yield values[0], None


def read_position(connection: sqlite3.Connection, item_id: int) -> Position | None:
    """Return the position of a code; None if it has none, or if it is corrupt."""
    return next(
        (position for _, position in read_positions(connection, item_id - 1, item_id)), None
    )


def write_positions(
    connection: sqlite3.Connection, positions: Iterable[tuple[int, Position]]
) -> None:
    """Insert positions of codes."""
    rows = (
        (item_id, *(None if value is None else float(value) + 0.0 for value in values))
        for item_id, position in positions
        for values in [(position.latitude, position.longitude, position.heading)]
    )  # + 0.0: SQLite returns 0.0 for -0.0, and the checksum must match what is read
    connection.executemany(
        "INSERT INTO position VALUES (?, ?, ?, ?, ?)", ((*row, checksum_of(row)) for row in rows)
    )


def read_thumbnails(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes | None]]:
    """Yield label ids with their thumbnails, or None where the checksum does not match."""
    for *values, checksum in connection.execute(
        "SELECT label_id, jpeg, checksum FROM thumbnail ORDER BY label_id"
    ):
        intact = isinstance(values[1], bytes) and checksum == checksum_of(tuple(values))
        yield values[0], values[1] if intact else None


def write_thumbnail(connection: sqlite3.Connection, label_id: int, jpeg: bytes) -> None:
    """Insert or replace a label's thumbnail; delete it if `jpeg` is empty."""
    connection.execute("DELETE FROM thumbnail WHERE label_id = ?", (label_id,))
    if jpeg:
        row = (label_id, jpeg)
        connection.execute("INSERT INTO thumbnail VALUES (?, ?, ?)", (*row, checksum_of(row)))


class Meta(NamedTuple):
    """The model that computed the codes."""

    model_id: str
    bits: int


def read_meta(connection: sqlite3.Connection) -> Meta | None:
    """Return the table meta, None if it is empty; raises ValueError if it is corrupt."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if not meta:
        return None
    try:
        bound = Meta(meta["model_id"], int(meta["bits"]))
        if int(meta["checksum"]) != checksum_of(bound):
            raise ValueError("its checksum does not match")
        if not (MODEL_ID.fullmatch(bound.model_id) and 1 <= bound.bits <= MOST_BITS):
            raise ValueError("it is not the id of a model")
    except (KeyError, TypeError) as error:
        raise ValueError(f"{error} is missing") from error
    return bound


def write_meta(connection: sqlite3.Connection, meta: Meta) -> None:
    """Bind an empty gallery to a model. A bound gallery is left unchanged."""
    values = {**meta._asdict(), "checksum": checksum_of(meta)}
    connection.executemany(
        "INSERT OR IGNORE INTO meta VALUES (?, ?)",
        [(key, str(value)) for key, value in values.items()],
    )


def bind(connection: sqlite3.Connection, path: Path, model: ModelInfo | None) -> Meta:
    """Return the model of the gallery at `path`, and bind an empty gallery to `model`.

    Raises `GalleryDamagedError`, or `GalleryModelMismatchError` if its codes are not those of
    `model`.
    """
    try:
        meta = read_meta(connection)
        if meta is None and model is not None:
            with transaction(connection):
                write_meta(connection, Meta(model.id, model.bits))
            meta = read_meta(connection)
    except ValueError as error:
        raise damaged(path, f"cannot read which model it belongs to: {error}") from error
    if meta is None:
        raise damaged(path, "the model that it belongs to is not recorded")
    if model is not None and not model.accepts_codes_of(meta.model_id):
        specialist = specialist_file(meta.model_id)
        theirs = f"--model models/{specialist}" if specialist else "that model with --model"
        raise GalleryModelMismatchError(
            f"its codes were made by model {meta.model_id[:12]}, not by {model.id[:12]}",
            where=path,
            remedy=f"use {theirs}, move it to this one with edge-runtime gallery rehash, "
            "or enroll the photos into another --gallery",
        )
    return meta


def check_still_bound(connection: sqlite3.Connection, path: Path, meta: Meta) -> None:
    """Raise `GalleryModelMismatchError` if the gallery was moved to a model other than `meta`'s."""
    now = read_meta(connection)
    if now is not None and now != meta:
        raise GalleryModelMismatchError(
            f"it was moved to model {now.model_id[:12]} while this process used "
            f"{meta.model_id[:12]}",
            where=path,
            remedy="start again with that --model",
        )


class Generation(NamedTuple):
    """A point in a gallery's history."""

    number: int
    stamp: bytes


BEGINNING = Generation(0, bytes(8))
"""Before the first change."""


def latest_generation(connection: sqlite3.Connection) -> Generation:
    """Return the gallery's last committed change."""
    row = connection.execute(
        "SELECT number, stamp FROM generation ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return Generation(*row) if row else BEGINNING


def in_history(connection: sqlite3.Connection, generation: Generation) -> bool:
    """Return whether `generation` is in the history, with all changes since."""
    row = connection.execute(
        "SELECT stamp FROM generation WHERE number = ?", (generation.number,)
    ).fetchone()
    return row is not None and row[0] == generation.stamp


def begin_generation(connection: sqlite3.Connection, touched: Iterable[int] = ()) -> None:
    """Count a change, inside its transaction.

    `touched` are the ids of codes that were removed or got another label.
    """
    number = next_id(latest_generation(connection).number, "change")
    connection.execute("INSERT INTO generation VALUES (?, ?)", (number, os.urandom(8)))
    connection.executemany(
        "INSERT INTO change VALUES (?, ?)", ((number, item_id) for item_id in touched)
    )


def next_id(last: int, what: str, most: int = MOST_ID) -> int:
    """Return the id after `last`; raises `GalleryError` if it would exceed the limit."""
    if last >= most:
        raise GalleryError(
            f"no id is left for another {what}", remedy="enroll the photos into another --gallery"
        )
    return last + 1


def forget_history(connection: sqlite3.Connection) -> None:
    """Delete all generations but the last, and their changes."""
    number = latest_generation(connection).number
    connection.execute("DELETE FROM generation WHERE number < ?", (number,))
    connection.execute("DELETE FROM change WHERE generation <= ?", (number,))
