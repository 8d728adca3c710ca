"""Remove labels and pictures together, and put them back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edge_runtime.code import words_of
from edge_runtime.errors import NotEnrolledError
from edge_runtime.gallery.changes import Batch, delete, existing, insert, label_data_of
from edge_runtime.gallery.content import labeled_code
from edge_runtime.gallery.features.rows import read_feature, read_picture
from edge_runtime.gallery.pictures import read_companions
from edge_runtime.gallery.records import Counts, LabelData, LabeledCode
from edge_runtime.gallery.rows import ItemRow, Meta, read_items, read_labels, read_position


@dataclass
class Removed:
    """What was removed, to be put back."""

    counts: Counts = field(default_factory=lambda: Counts(0, 0))
    codes: dict[str, list[LabeledCode]] = field(default_factory=dict)
    """By time of enrollment. Corrupt codes are not included."""
    label_data: dict[str, LabelData] = field(default_factory=dict)

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
        )


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
    removed = Removed()
    for row in rows:
        (label,) = read_labels(connection, row.label_id)
        if label.name not in removed.label_data:
            removed.label_data[label.name] = label_data_of(connection, label.name)
        if row.intact(8 * words_of(meta.bits)):
            code = replace(
                labeled_code(row, label.name, read_position(connection, row.id)),
                features=read_feature(connection, row.id),
                picture=read_picture(connection, row.id),
            )
            removed.codes.setdefault(row.created_at, []).append(code)
    removed.counts = delete(connection, None, [row.id for row in rows])
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


def put_back(connection: sqlite3.Connection, meta: Meta, removed: Removed) -> int:
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
    return count
