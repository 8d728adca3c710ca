"""Remove labels and pictures together, rename and merge labels, and take each of these back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edge_runtime.code import words_of
from edge_runtime.errors import NotEnrolledError
from edge_runtime.gallery.changes import (
    Batch,
    add_label_data,
    delete,
    existing,
    has,
    insert,
    label_data_of,
    label_id,
    move,
    relabel,
    remove_if_empty,
    set_label_data,
)
from edge_runtime.gallery.content import labeled_code
from edge_runtime.gallery.features.rows import read_feature, read_picture
from edge_runtime.gallery.pictures import read_companions
from edge_runtime.gallery.records import Counts, LabelData, LabeledCode, check_label
from edge_runtime.gallery.rows import (
    ItemRow,
    Meta,
    begin_generation,
    read_items,
    read_labels,
    read_position,
)
from edge_runtime.gallery.sound.rows import (
    StoredSound,
    move_sounds,
    read_sound_rows,
    read_sounds,
    write_sound,
)


@dataclass
class Removed:
    """What was removed, to be put back."""

    counts: Counts = field(default_factory=lambda: Counts(0, 0))
    codes: dict[str, list[LabeledCode]] = field(default_factory=dict)
    """By time of enrollment. Corrupt codes are not included."""
    label_data: dict[str, LabelData] = field(default_factory=dict)
    sounds: list[StoredSound] = field(default_factory=list)
    """Of all labels that something was removed from."""

    @property
    def size_bytes(self) -> int:
        """Approximate memory."""
        features = (code.features for each in self.codes.values() for code in each)
        pictures = (len(code.picture) for each in self.codes.values() for code in each)
        thumbnails = (len(data.thumbnail) for data in self.label_data.values())
        return (
            sum(500 + (0 if each is None else each.nbytes) for each in features)
            + sum(pictures)
            + sum(thumbnails)
            + sum(sound.fingerprints.nbytes for sound in self.sounds)
        )


@dataclass
class Moved:
    """What a rename or a merge has done, to be taken back."""

    counts: Counts
    """What was moved."""
    old: str
    new: str
    ids: list[int]
    """Ids of the codes that were moved."""
    removed: Removed
    """What both labels had, and the data of `old`."""
    new_data: tuple[LabelData, LabelData] | None
    """The data of `new` before and after; None if the label was new."""
    sounds: list[bytes] = field(default_factory=list)
    """Digests of the sounds that only `old` had."""

    @property
    def size_bytes(self) -> int:
        """Approximate memory."""
        return self.removed.size_bytes + 40 * len(self.ids)


def remove_together(
    connection: sqlite3.Connection,
    meta: Meta,
    labels: Sequence[str] = (),
    pictures: Sequence[int] = (),
) -> Removed:
    """Remove whole labels, and pictures by the id of one of their codes.

    Runs inside a transaction. Raises `NotEnrolledError` if one of them does not exist.
    """
    owners = {existing(connection, label): label for label in labels}
    rows = [
        row for owner in owners for row in read_items(connection, "WHERE label_id = ?", (owner,))
    ]
    whole = {row.id for row in rows}
    rows += [row for row in _rows_of(connection, pictures) if row.id not in whole]
    removed = _read(connection, meta, rows)
    removed.counts = delete(connection, None, [row.id for row in rows])
    return removed


def _read(connection: sqlite3.Connection, meta: Meta, rows: Sequence[ItemRow]) -> Removed:
    """Return what is to be put back when these codes are removed."""
    removed = Removed()
    for row in rows:
        (label,) = read_labels(connection, row.label_id)
        if label.name not in removed.label_data:
            removed.label_data[label.name] = label_data_of(connection, label.name)
            removed.sounds += read_sounds(connection, row.label_id)
        if row.intact(8 * words_of(meta.bits)):
            code = replace(
                labeled_code(row, label.name, read_position(connection, row.id)),
                features=read_feature(connection, row.id),
                picture=read_picture(connection, row.id),
            )
            removed.codes.setdefault(row.created_at, []).append(code)
    return removed


def _rows_of(connection: sqlite3.Connection, ids: Sequence[int]) -> list[ItemRow]:
    """Return all rows of the pictures that these codes belong to, in the order of their ids."""
    found = {}
    for code_id in dict.fromkeys(ids):
        rows = list(read_items(connection, "WHERE id = ?", (code_id,)))
        if not rows:
            raise NotEnrolledError(
                f"no picture has the id {code_id}", remedy="list the pictures again"
            )
        (row,) = rows
        alone = row.digest is None and not row.source
        (last,) = connection.execute("SELECT max(id) FROM item").fetchone()
        for each in rows if alone else read_companions(connection, rows, last):
            found[each.id] = each
    return [found[code_id] for code_id in sorted(found)]


def take_back(connection: sqlite3.Connection, meta: Meta, done: Removed | Moved) -> int:
    """Undo a removal, a rename or a merge, inside a transaction; return the number of codes."""
    if isinstance(done, Removed):
        return _put_back(connection, meta, done)
    return _move_back(connection, meta, done)


def _put_back(connection: sqlite3.Connection, meta: Meta, removed: Removed) -> int:
    """Enroll again what was removed, inside a transaction; return the number of codes.

    What was enrolled again meanwhile stays as it is.
    """
    count = 0
    for created_at, codes in removed.codes.items():
        named = {code.label for code in codes}
        data = {label: data for label, data in removed.label_data.items() if label in named}
        batch = Batch(codes, data, meta.bits)
        ids = insert(connection, batch, created_at=created_at)
        count += len(ids) - ids.count(None)
    for sound in removed.sounds:
        found = connection.execute("SELECT id FROM label WHERE name = ?", (sound.label,)).fetchone()
        if found is not None:
            write_sound(connection, found[0], sound.source, sound.fingerprints)
    return count


def relabel_together(
    connection: sqlite3.Connection, meta: Meta, old: str, new: str, *, merge: bool
) -> Moved:
    """Do what `changes.relabel` does, and return how to take it back; inside a transaction."""
    source, old, new = existing(connection, old), check_label(old), check_label(new)
    found = connection.execute("SELECT id FROM label WHERE name = ?", (new,)).fetchone()
    before = label_data_of(connection, new) if found else None
    rows = list(read_items(connection, "WHERE label_id = ?", (source,)))
    doubles = [
        row
        for row in rows
        if found and row.digest is not None and has(connection, int(found[0]), row.digest)
    ]
    removed = _read(connection, meta, doubles)
    removed.label_data[old] = label_data_of(connection, old)
    theirs = {row.digest for row in read_sound_rows(connection, found[0])} if found else set()
    sounds = [row.digest for row in read_sound_rows(connection, source)]
    removed.sounds = read_sounds(connection, source)
    counts = relabel(connection, old, new, merge=merge)
    gone = {row.id for row in doubles}
    return Moved(
        counts,
        old,
        new,
        [row.id for row in rows if row.id not in gone],
        removed,
        None if before is None else (before, label_data_of(connection, new)),
        [digest for digest in sounds if digest not in theirs],
    )


def _move_back(connection: sqlite3.Connection, meta: Meta, moved: Moved) -> int:
    """Take a rename or a merge back, inside a transaction; return the number of codes.

    What was changed meanwhile stays as it is. Raises `NotEnrolledError` if nothing is left.
    """
    target = existing(connection, moved.new)
    rows = [
        row
        for code_id in moved.ids
        for row in read_items(connection, "WHERE id = ? AND label_id = ?", (code_id, target))
    ]
    owner = label_id(connection, moved.old)
    rows = [row for row in rows if row.digest is None or not has(connection, owner, row.digest)]
    for row in rows:
        move(connection, row, owner)
    move_sounds(connection, target, owner, moved.sounds)
    begin_generation(connection, [row.id for row in rows])
    count = len(rows) + _put_back(connection, meta, moved.removed)
    if moved.new_data and label_data_of(connection, moved.new) == moved.new_data[1]:
        set_label_data(connection, moved.new, moved.new_data[0])
    add_label_data(connection, [(moved.old, moved.removed.label_data[moved.old])])
    for each in (target, owner):
        remove_if_empty(connection, each)
    if not count:
        raise NotEnrolledError("nothing is left of what was moved", where=moved.new)
    return count
