"""Rows as they are stored, each with a checksum over everything in it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import NamedTuple
from zlib import crc32

from edge_runtime.errors import InputError
from edge_runtime.gallery.schema import PICTURE_INDEX
from edge_runtime.position import Position

ITEM_COLUMNS = "id, label_id, code, source, digest, created_at, checksum"
ROWS_A_STATEMENT = 100
"""Of six values each: an SQLite may take no more than 999."""
SORTED_AFTER = 5
"""Items there for each new one up to which the index is rather made anew."""
LABEL_COLUMNS = "id, name, payload, checksum"


class ItemRow(NamedTuple):
    """A row of the table item."""

    id: int
    label_id: int
    code: bytes
    """Little-endian words."""
    source: str
    digest: bytes | None
    created_at: str
    checksum: int

    def intact(self, width: int) -> bool:
        """Whether this is what was written; `width`: bytes of a code."""
        return (
            isinstance(self.code, bytes)
            and len(self.code) == width
            and self.checksum == checksum_of(self[:-1])
        )


class LabelRow(NamedTuple):
    """A row of the table label."""

    id: int
    name: str
    payload: str
    """JSON, or empty."""
    checksum: int

    def intact(self) -> bool:
        """Whether this is what was written."""
        return self.checksum == checksum_of(self[:-1])


def checksum_of(values: tuple[object, ...]) -> int:
    """CRC-32 over values with their types, so that none can run into the next."""
    return crc32(repr(values).encode("utf-8", "surrogatepass"))


def read_items(
    connection: sqlite3.Connection, where: str = "", values: tuple[object, ...] = ()
) -> Iterator[ItemRow]:
    """Item rows in the order of their ids, unchecked."""
    for row in connection.execute(f"SELECT {ITEM_COLUMNS} FROM item {where} ORDER BY id", values):
        yield ItemRow(*row)


def read_labels(connection: sqlite3.Connection) -> Iterator[LabelRow]:
    """Label rows in the order of their ids, unchecked."""
    for row in connection.execute(f"SELECT {LABEL_COLUMNS} FROM label ORDER BY id"):
        yield LabelRow(*row)


def write_items(
    connection: sqlite3.Connection,
    rows: Iterable[tuple[int, int, bytes, str, bytes | None]],
    created_at: str,
) -> None:
    """Insert items, given without when they were made and without their checksums.

    Each statement looks up the last id that was ever given and writes it back, and each text that
    is bound is copied: so there are many rows to one, and the time is part of its words.
    """
    rest = iter(rows)
    (time,) = connection.execute("SELECT quote(?)", (created_at,)).fetchone()
    end = f", {created_at!r})"
    while some := list(islice(rest, ROWS_A_STATEMENT)):
        values: list[object] = []
        for item_id, label_id, code, source, digest in some:
            # As `checksum_of` does, but without making the tuple: a tenth of the time.
            text = f"({item_id}, {label_id}, {code!r}, {source!r}, {digest!r}{end}"
            checksum = crc32(text.encode("utf-8", "surrogatepass"))
            values += item_id, label_id, code, source, digest, checksum
        marks = ", ".join([f"(?, ?, ?, ?, ?, {time}, ?)"] * len(some))
        connection.execute(f"INSERT INTO item ({ITEM_COLUMNS}) VALUES {marks}", values)


def without_index(connection: sqlite3.Connection, count: int) -> AbstractContextManager[None]:
    """Around the writing of `count` items that no label has yet, inside a transaction.

    An index takes each entry at a page of its own, and a page that has left the processor's cache
    costs more than the row. Where the new items are no small part of all, sorting them all into
    the index afterwards is several times faster (`python -m profiles.bench.gallery`).
    """
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM item").fetchone()
    return _index_afterwards(connection) if last <= SORTED_AFTER * count else nullcontext()


@contextmanager
def _index_afterwards(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("DROP INDEX item_picture")
    yield
    connection.execute(PICTURE_INDEX)


def write_label(connection: sqlite3.Connection, row: tuple[int, str, str]) -> None:
    """Insert or replace a label given without its checksum."""
    connection.execute(
        f"INSERT INTO label ({LABEL_COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
        "SET name = excluded.name, payload = excluded.payload, checksum = excluded.checksum",
        (*row, checksum_of(row)),
    )


def read_positions(
    connection: sqlite3.Connection, after: int = 0
) -> Iterator[tuple[int, Position | None]]:
    """Ids and positions of items with ids above `after`; None: not what was written."""
    for *values, checksum in connection.execute(
        "SELECT item_id, latitude, longitude, heading, checksum FROM position "
        "WHERE item_id > ? ORDER BY item_id",
        (after,),
    ):
        try:
            sound = checksum == checksum_of(tuple(values))
            yield values[0], Position(*values[1:]) if sound else None
        except (InputError, TypeError):
            yield values[0], None


def write_positions(
    connection: sqlite3.Connection, positions: Iterable[tuple[int, Position]]
) -> None:
    """Insert the positions of items."""
    rows = (
        (item_id, *(None if value is None else float(value) + 0.0 for value in values))
        for item_id, at in positions
        for values in [(at.latitude, at.longitude, at.heading)]
    )  # + 0.0: SQLite gives 0.0 for -0.0, and the checksum must be of what is read
    connection.executemany(
        "INSERT INTO position VALUES (?, ?, ?, ?, ?)", ((*row, checksum_of(row)) for row in rows)
    )


def read_thumbnails(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes | None]]:
    """Label ids and their thumbnails; None: not what was written."""
    for *values, checksum in connection.execute(
        "SELECT label_id, jpeg, checksum FROM thumbnail ORDER BY label_id"
    ):
        yield values[0], values[1] if checksum == checksum_of(tuple(values)) else None


def write_thumbnail(connection: sqlite3.Connection, label_id: int, jpeg: bytes) -> None:
    """Insert, replace, or (with no bytes) delete a label's thumbnail."""
    connection.execute("DELETE FROM thumbnail WHERE label_id = ?", (label_id,))
    if jpeg:
        row = (label_id, jpeg)
        connection.execute("INSERT INTO thumbnail VALUES (?, ?, ?)", (*row, checksum_of(row)))


class Meta(NamedTuple):
    """Whose gallery it is."""

    model_id: str
    bits: int


def read_meta(connection: sqlite3.Connection) -> Meta | None:
    """The table meta; None if it is empty. Raises ValueError where it is not what was written."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if not meta:
        return None
    try:
        found = Meta(meta["model_id"], int(meta["bits"]))
        if int(meta["checksum"]) != checksum_of(found):
            raise ValueError("its checksum does not match")
    except (KeyError, TypeError) as error:
        raise ValueError(f"{error} is missing") from error
    return found


def write_meta(connection: sqlite3.Connection, meta: Meta) -> None:
    """Bind an empty gallery to a model; does nothing where it is bound."""
    values = {**meta._asdict(), "checksum": checksum_of(meta)}
    connection.executemany(
        "INSERT OR IGNORE INTO meta VALUES (?, ?)",
        [(key, str(value)) for key, value in values.items()],
    )


class Generation(NamedTuple):
    """A point in a gallery's history."""

    number: int
    stamp: bytes


BEGINNING = Generation(0, bytes(8))
"""Before the first change."""


def latest_generation(connection: sqlite3.Connection) -> Generation:
    """The gallery's last committed change."""
    row = connection.execute(
        "SELECT number, stamp FROM generation ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return Generation(*row) if row else BEGINNING


def in_history(connection: sqlite3.Connection, generation: Generation) -> bool:
    """Whether the gallery went through `generation` and still knows all changes since."""
    row = connection.execute(
        "SELECT stamp FROM generation WHERE number = ?", (generation.number,)
    ).fetchone()
    return row is not None and row[0] == generation.stamp


def begin_generation(connection: sqlite3.Connection, touched: Iterable[int] = ()) -> None:
    """Count a change, inside its transaction; `touched` items went or got another label."""
    number = latest_generation(connection).number + 1
    connection.execute("INSERT INTO generation VALUES (?, ?)", (number, os.urandom(8)))
    connection.executemany(
        "INSERT INTO change VALUES (?, ?)", ((number, item_id) for item_id in touched)
    )


def forget_history(connection: sqlite3.Connection) -> None:
    """Drop all generations but the last, and their changes."""
    number = latest_generation(connection).number
    connection.execute("DELETE FROM generation WHERE number < ?", (number,))
    connection.execute("DELETE FROM change WHERE generation <= ?", (number,))
