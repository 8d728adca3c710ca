"""What a writer does to the rows, inside a transaction that the caller has begun."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime

from edge_runtime.code import Code, check_codes
from edge_runtime.errors import LabelError, NotEnrolledError
from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.records import Item, Note
from edge_runtime.gallery.rows import (
    begin_generation,
    checksum_of,
    read_items,
    without_index,
    write_items,
    write_label,
    write_positions,
    write_thumbnail,
)

MANY = 1000
"""Items in one call from which on it is faster to ask for all known pictures at once."""


class Batch:
    """Items and notes that have been checked, before any lock is taken for them."""

    def __init__(self, items: Sequence[Item], notes: Mapping[str, Note], bits: int) -> None:
        """Raises `CodeError`, `LabelError` or `InputError`."""
        self.items = items
        self.codes: Code = check_codes([item.code for item in items], bits)
        self.labels = {text: check_label(text) for text in dict.fromkeys(i.label for i in items)}
        self.notes = {check_label(text): note.checked(text) for text, note in notes.items()}


def _as_text(source: str) -> str:
    """`source` as it can be kept: a file's name may have bytes that are no UTF-8."""
    return source.encode(errors="replace").decode()


def insert(connection: sqlite3.Connection, batch: Batch) -> list[int | None]:
    """Insert all of `batch`; gives ids, None for pictures that their label has already."""
    execute = connection.execute
    (last,) = execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'item'"
    ).fetchone()
    label_ids = {text: label_id(connection, label) for text, label in batch.labels.items()}
    owners = [label_ids[item.label] for item in batch.items]
    new = list(range(len(batch.items)))
    if any(item.digest is not None for item in batch.items):
        new = _new_pictures(connection, batch.items, owners)
    blobs = batch.codes.astype("<u8").view(f"V{8 * batch.codes.shape[1]}")[:, 0].tolist()
    given = range(last + 1, last + 1 + len(new))
    ids: list[int | None] = [None] * len(batch.items)
    for item_id, at in zip(given, new, strict=True):
        ids[at] = item_id
    items = [batch.items[at] for at in new]
    many = len(new) > MANY
    if many:  # a page of a large batch is written once, when it is full
        execute("PRAGMA cache_spill = OFF")
    with without_index(connection, len(new)) if many else nullcontext():
        write_items(
            connection,
            zip(
                given,
                [owners[at] for at in new],
                [blobs[at] for at in new],
                [_as_text(item.source) for item in items],
                [item.digest for item in items],
                strict=True,
            ),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    write_positions(
        connection,
        (
            (item_id, item.position)
            for item_id, item in zip(given, items, strict=True)
            if item.position is not None
        ),
    )
    noted = [_add_note(connection, label, note) for label, note in batch.notes.items()]
    if new or any(noted):
        begin_generation(connection)
    return ids


def _new_pictures(
    connection: sqlite3.Connection, items: Sequence[Item], owners: Sequence[int]
) -> list[int]:
    """Which of `items` their labels do not have yet, each picture once."""
    known = _digests(connection, set(owners)) if len(items) > MANY else None
    fresh: set[tuple[int, bytes]] = set()
    new = []
    for at, (owner, item) in enumerate(zip(owners, items, strict=True)):
        if item.digest is not None:
            key = (owner, item.digest)
            if key in fresh or (has(connection, *key) if known is None else key in known):
                continue
            fresh.add(key)
        new.append(at)
    return new


def _add_note(connection: sqlite3.Connection, label: str, note: Note) -> bool:
    """Keep of `note` what the label has nothing for yet; gives whether that was anything."""
    row = connection.execute("SELECT id, payload FROM label WHERE name = ?", (label,)).fetchone()
    if row is None:
        return False
    owner, payload = row
    bare = connection.execute("SELECT 1 FROM thumbnail WHERE label_id = ?", (owner,)).fetchone()
    if note.thumbnail and bare is None:
        write_thumbnail(connection, owner, note.thumbnail)
    if note.payload and not payload:
        write_label(connection, (owner, label, note.payload))
    return bool((note.thumbnail and bare is None) or (note.payload and not payload))


def set_note(connection: sqlite3.Connection, label: str, note: Note) -> None:
    """Keep `note` with `label`, in place of what was there; raises `NotEnrolledError`."""
    owner = existing(connection, label)
    write_label(connection, (owner, check_label(label), note.payload))
    write_thumbnail(connection, owner, note.thumbnail)
    begin_generation(connection)


def note_of(connection: sqlite3.Connection, label: str) -> Note:
    """What is kept with `label`; raises `NotEnrolledError`."""
    owner = existing(connection, label)
    payload, jpeg = connection.execute(
        "SELECT payload, jpeg FROM label LEFT JOIN thumbnail ON label_id = id WHERE id = ?",
        (owner,),
    ).fetchone()
    return Note(payload, jpeg or b"")


def delete(connection: sqlite3.Connection, label: str | None, ids: Sequence[int]) -> int:
    """Delete a label with its items, or single items; raises `NotEnrolledError`."""
    execute = connection.execute
    gone = list(ids)
    if label is not None:
        owner = existing(connection, label)
        gone += [row[0] for row in execute("SELECT id FROM item WHERE label_id = ?", (owner,))]
    for item_id in gone:
        if not execute("DELETE FROM item WHERE id = ?", (item_id,)).rowcount:
            raise NotEnrolledError(
                "no such item", where=item_id, remedy="see: edge-runtime gallery list"
            )
    execute("DELETE FROM label WHERE id NOT IN (SELECT label_id FROM item)")
    begin_generation(connection, gone)
    return len(gone)


def relabel(connection: sqlite3.Connection, old: str, new: str) -> int:
    """Give the items of `old` to `new`; pictures that `new` has too are dropped."""
    new = check_label(new)
    source = existing(connection, old)
    if check_label(old) == new:
        raise LabelError("the new label is the old one", where=old, remedy="choose another")
    note = note_of(connection, old)
    target = label_id(connection, new)
    moved = list(read_items(connection, "WHERE label_id = ?", (source,)))
    kept = 0
    for row in moved:
        if row.digest is not None and has(connection, target, row.digest):
            connection.execute("DELETE FROM item WHERE id = ?", (row.id,))
            continue
        values = row._replace(label_id=target)[:-1]
        connection.execute(
            "UPDATE item SET label_id = ?, checksum = ? WHERE id = ?",
            (target, checksum_of(values), row.id),
        )
        kept += 1
    _add_note(connection, new, note)
    connection.execute("DELETE FROM label WHERE id = ?", (source,))
    begin_generation(connection, [row.id for row in moved])
    return kept


def label_id(connection: sqlite3.Connection, label: str) -> int:
    """Of a label, made if it is new."""
    row = connection.execute("SELECT id FROM label WHERE name = ?", (label,)).fetchone()
    if row is None:
        row = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM label").fetchone()
        write_label(connection, (row[0], label, ""))
    return int(row[0])


def existing(connection: sqlite3.Connection, label: str) -> int:
    """The id of a label; raises `NotEnrolledError`."""
    row = connection.execute(
        "SELECT id FROM label WHERE name = ?", (check_label(label),)
    ).fetchone()
    if row is None:
        raise NotEnrolledError(
            "no such label", where=label, remedy="see: edge-runtime gallery list"
        )
    return int(row[0])


def has(connection: sqlite3.Connection, owner: int, digest: bytes) -> bool:
    """Whether the label with the id `owner` has the picture with this digest."""
    found = connection.execute(
        "SELECT 1 FROM item WHERE label_id = ? AND digest = ?", (owner, digest)
    )
    return found.fetchone() is not None


def _digests(connection: sqlite3.Connection, owners: set[int]) -> set[tuple[int, bytes]]:
    return {
        (owner, row[0])
        for owner in owners
        for row in connection.execute(
            "SELECT digest FROM item WHERE label_id = ? AND digest NOT NULL", (owner,)
        )
    }
