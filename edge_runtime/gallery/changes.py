"""Changes to the rows of a gallery, inside a transaction that the caller has begun."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime

from edge_runtime.code import Code, check_codes
from edge_runtime.errors import InputError, LabelError, NotEnrolledError
from edge_runtime.gallery.completion import complete
from edge_runtime.gallery.features.rows import write_features, write_pictures
from edge_runtime.gallery.pictures import count_pictures, count_rows
from edge_runtime.gallery.records import Counts, LabelData, LabeledCode, check_label
from edge_runtime.gallery.rows import (
    ItemRow,
    begin_generation,
    checksum_of,
    next_id,
    read_items,
    without_index,
    write_items,
    write_label,
    write_positions,
    write_thumbnail,
)
from edge_runtime.gallery.sound.rows import move_sounds
from edge_runtime.gallery.soundness import MOST_LABEL_ID
from edge_runtime.redaction import redact

MANY = 1000
"""From this number of codes per call, reading all known digests at once is faster than one query
for each."""


class Batch:
    """Codes and label data that are checked before the database is locked for them."""

    def __init__(
        self, codes: Sequence[LabeledCode], label_data: Mapping[str, LabelData], bits: int
    ) -> None:
        """Raises `CodeError`, `LabelError` or `InputError`."""
        self.entries = codes
        _check_features(codes)
        self.codes: Code = check_codes([entry.code for entry in codes], bits)
        self.labels = {text: check_label(text) for text in dict.fromkeys(c.label for c in codes)}
        self.label_data = {
            check_label(text): data.checked(text) for text, data in label_data.items()
        }


def _check_features(codes: Sequence[LabeledCode]) -> None:
    """Raise `InputError` unless all features are int8 [F] with the same F."""
    shapes = {
        (str(code.features.dtype), code.features.shape)
        for code in codes
        if code.features is not None
    }
    if len(shapes) > 1 or any(dtype != "int8" or len(shape) != 1 for dtype, shape in shapes):
        raise InputError(
            f"features must be int8 [F], all of one length, got {sorted(shapes)}",
            remedy="convert them with edge_runtime.fitting.quantized.quantize",
        )


def _as_text(source: str) -> str:
    """Return `source` without secrets and as UTF-8: a file name may contain other bytes."""
    return redact(source).encode(errors="replace").decode()


def insert(
    connection: sqlite3.Connection, batch: Batch, *, in_parts: bool = False, created_at: str = ""
) -> list[int | None]:
    """Insert the codes of `batch` and return their ids.

    With `in_parts`, other batches follow in the same transaction, and the memory that it takes does
    not grow with them. `created_at` is the time of enrollment (UTC, ISO 8601), by default now.

    The id is None for a code whose digest the label has already. If that lacks features or the
    picture, they are added.
    """
    execute = connection.execute
    (last,) = execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'item'"
    ).fetchone()
    label_ids = {text: label_id(connection, label) for text, label in batch.labels.items()}
    owners = [label_ids[entry.label] for entry in batch.entries]
    new = list(range(len(batch.entries)))
    if any(entry.digest is not None for entry in batch.entries):
        new = _new_entries(connection, batch.entries, owners, in_parts)
    blobs = batch.codes.astype("<u8").view(f"V{8 * batch.codes.shape[1]}")[:, 0].tolist()
    next_id(last + len(new), "code")
    new_ids = range(last + 1, last + 1 + len(new))
    ids: list[int | None] = [None] * len(batch.entries)
    for item_id, index in zip(new_ids, new, strict=True):
        ids[index] = item_id
    entries = [batch.entries[index] for index in new]
    # The views of a picture share its source.
    texts = {source: _as_text(source) for source in {entry.source for entry in entries}}
    many = len(new) > MANY
    if many and not in_parts:  # each page of a large batch is written only once, when it is full
        execute("PRAGMA cache_spill = OFF")
    with without_index(connection, len(new)) if many else nullcontext():
        write_items(
            connection,
            zip(
                new_ids,
                [owners[index] for index in new],
                [blobs[index] for index in new],
                [texts[entry.source] for entry in entries],
                [entry.digest for entry in entries],
                strict=True,
            ),
            created_at=created_at or datetime.now(UTC).isoformat(timespec="seconds"),
        )
    write_positions(
        connection,
        (
            (item_id, entry.position)
            for item_id, entry in zip(new_ids, entries, strict=True)
            if entry.position is not None
        ),
    )
    write_features(
        connection,
        (
            (item_id, entry.features)
            for item_id, entry in zip(new_ids, entries, strict=True)
            if entry.features is not None
        ),
    )
    write_pictures(
        connection,
        (
            (item_id, entry.picture)
            for item_id, entry in zip(new_ids, entries, strict=True)
            if entry.picture
        ),
    )
    inserted = set(new)
    known = [index for index in range(len(ids)) if index not in inserted]
    changed = [complete(connection, ((owners[index], batch.entries[index]) for index in known))]
    changed += [
        _add_label_data(connection, label, data) for label, data in batch.label_data.items()
    ]
    if new or any(changed):
        begin_generation(connection)
    return ids


def _new_entries(
    connection: sqlite3.Connection,
    entries: Sequence[LabeledCode],
    owners: Sequence[int],
    in_parts: bool,
) -> list[int]:
    """Return the indices of the entries that their labels do not have yet, without repetitions."""
    all_known = len(entries) > MANY and not in_parts
    known = _digests(connection, set(owners)) if all_known else None
    inserted: set[tuple[int, bytes]] = set()
    new = []
    for index, (owner, entry) in enumerate(zip(owners, entries, strict=True)):
        if entry.digest is not None:
            key = (owner, entry.digest)
            if key in inserted or (has(connection, *key) if known is None else key in known):
                continue
            inserted.add(key)
        new.append(index)
    return new


def add_label_data(
    connection: sqlite3.Connection, label_data: Iterable[tuple[str, LabelData]]
) -> None:
    """Store the parts of `label_data` that the labels lack."""
    changed = [True for label, data in label_data if _add_label_data(connection, label, data)]
    if changed:
        begin_generation(connection)


def _add_label_data(connection: sqlite3.Connection, label: str, data: LabelData) -> bool:
    """Store the parts of `data` that the label lacks; return whether anything was stored."""
    row = connection.execute("SELECT id, payload FROM label WHERE name = ?", (label,)).fetchone()
    if row is None:
        return False
    owner, payload = row
    stored = connection.execute("SELECT 1 FROM thumbnail WHERE label_id = ?", (owner,)).fetchone()
    add_thumbnail = bool(data.thumbnail) and stored is None
    add_payload = bool(data.payload) and not payload
    if add_thumbnail:
        write_thumbnail(connection, owner, data.thumbnail)
    if add_payload:
        write_label(connection, (owner, label, data.payload))
    return add_thumbnail or add_payload


def set_label_data(connection: sqlite3.Connection, label: str, data: LabelData) -> None:
    """Replace the data stored with `label`; raises `NotEnrolledError`."""
    owner = existing(connection, label)
    write_label(connection, (owner, check_label(label), data.payload))
    write_thumbnail(connection, owner, data.thumbnail)
    begin_generation(connection)


def label_data_of(connection: sqlite3.Connection, label: str) -> LabelData:
    """Return the data stored with `label`; raises `NotEnrolledError`."""
    owner = existing(connection, label)
    payload, jpeg = connection.execute(
        "SELECT payload, jpeg FROM label LEFT JOIN thumbnail ON label_id = id WHERE id = ?",
        (owner,),
    ).fetchone()
    return LabelData(payload, jpeg or b"")


def delete(connection: sqlite3.Connection, label: str | None, ids: Sequence[int]) -> Counts:
    """Delete a label with its codes, or single codes; raises `NotEnrolledError`.

    Returns how many codes were deleted, and how many pictures lost all of their codes.
    """
    execute = connection.execute
    removed = list(ids)
    owners = {
        owner
        for item_id in ids
        for (owner,) in execute("SELECT label_id FROM item WHERE id = ?", (item_id,))
    }
    if label is not None:
        owner = existing(connection, label)
        owners.add(owner)
        removed += [row[0] for row in execute("SELECT id FROM item WHERE label_id = ?", (owner,))]
    pictures = count_pictures(connection, owners)
    for item_id in removed:
        if not execute("DELETE FROM item WHERE id = ?", (item_id,)).rowcount:
            raise NotEnrolledError(
                f"no code has the id {item_id}", remedy="see: edge-runtime gallery list"
            )
    pictures -= count_pictures(connection, owners)
    for owner in owners:
        remove_if_empty(connection, owner)
    begin_generation(connection, removed)
    return Counts(pictures, len(removed))


def relabel(connection: sqlite3.Connection, old: str, new: str, *, merge: bool = True) -> Counts:
    """Move the codes of `old` to `new`, and delete those whose digests `new` has already.

    Returns how many pictures and codes were moved. Without `merge`, raises `LabelError` if
    `new` exists.
    """
    new = check_label(new)
    source = existing(connection, old)
    if check_label(old) == new:
        raise LabelError("the old and the new label are the same", where=old)
    if not merge and connection.execute("SELECT 1 FROM label WHERE name = ?", (new,)).fetchone():
        raise LabelError(
            "this label exists already", where=new, remedy="merge the two, or choose another name"
        )
    data = label_data_of(connection, old)
    target = label_id(connection, new)
    rows = list(read_items(connection, "WHERE label_id = ?", (source,)))
    moved = []
    for row in rows:
        if row.digest is not None and has(connection, target, row.digest):
            connection.execute("DELETE FROM item WHERE id = ?", (row.id,))
            continue
        move(connection, row, target)
        moved.append(row)
    _add_label_data(connection, new, data)
    move_sounds(connection, source, target)
    connection.execute("DELETE FROM label WHERE id = ?", (source,))
    begin_generation(connection, [row.id for row in rows])
    return count_rows(moved)


def move(connection: sqlite3.Connection, row: ItemRow, target: int) -> None:
    """Give a code to the label with the id `target`."""
    values = row._replace(label_id=target)[:-1]
    connection.execute(
        "UPDATE item SET label_id = ?, checksum = ? WHERE id = ?",
        (target, checksum_of(values), row.id),
    )


def remove_if_empty(connection: sqlite3.Connection, owner: int) -> None:
    """Remove the label with the id `owner` if it has no code."""
    connection.execute(
        "DELETE FROM label WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM item WHERE label_id = ?1)",
        (owner,),
    )


def label_id(connection: sqlite3.Connection, label: str) -> int:
    """Return the id of a label, which is inserted if it is new."""
    row = connection.execute("SELECT id FROM label WHERE name = ?", (label,)).fetchone()
    if row is None:
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM label").fetchone()
        row = (next_id(last, "label", MOST_LABEL_ID),)
        write_label(connection, (row[0], label, ""))
    return int(row[0])


def existing(connection: sqlite3.Connection, label: str) -> int:
    """Return the id of a label; raises `NotEnrolledError`."""
    row = connection.execute(
        "SELECT id FROM label WHERE name = ?", (check_label(label),)
    ).fetchone()
    if row is None:
        raise no_such_label(label)
    return int(row[0])


def no_such_label(label: str) -> NotEnrolledError:
    """Return the error for a label that the gallery does not have."""
    return NotEnrolledError("no such label", where=label, remedy="see: edge-runtime gallery list")


def has(connection: sqlite3.Connection, owner: int, digest: bytes) -> bool:
    """Return whether the label with the id `owner` has a code with this digest."""
    rows = connection.execute(
        "SELECT 1 FROM item WHERE label_id = ? AND digest = ?", (owner, digest)
    )
    return rows.fetchone() is not None


def _digests(connection: sqlite3.Connection, owners: set[int]) -> set[tuple[int, bytes]]:
    return {
        (owner, row[0])
        for owner in owners
        for row in connection.execute(
            "SELECT digest FROM item WHERE label_id = ? AND digest NOT NULL", (owner,)
        )
    }
