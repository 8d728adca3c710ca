"""Which codes belong to one picture.

An enrolled picture has one code per view, and the database stores one row per code. The rows of a
picture have the same label, and

- digests that begin with the digest of the picture's file (see `view_digest`), or
- no digest, but the same source and the same time of enrollment: camera frames have no file.

A row that has neither a digest nor a source counts as a picture of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from edge_runtime.gallery.records import Counts, EnrollCounts, LabeledCode
from edge_runtime.gallery.rows import ITEM_COLUMNS, ItemRow
from edge_runtime.redaction import redact

DIGEST_BYTES = 32
"""The size of a SHA-256 digest."""

KEY_SQL = f"""
    CASE WHEN digest IS NOT NULL THEN substr(digest, 1, {DIGEST_BYTES})
         WHEN source = '' THEN item.id
         ELSE created_at || ' ' || source END"""
"""The key of `row_key` as SQL; unique within a label."""


def view_digest(digest: bytes, view: int) -> bytes:
    """Return the digest of a view of the picture whose file has the SHA-256 `digest`.

    View 0, the whole picture, has the digest of the file. The others append their number.
    """
    return digest + bytes([view]) if view else digest


def row_key(row: ItemRow) -> object:
    """Return a key that is equal for the rows of one picture, within a label."""
    if row.digest is not None:
        return row.digest[:DIGEST_BYTES]
    return (row.created_at, row.source) if row.source else row.id


def first_ids(rows: Iterable[ItemRow]) -> list[int]:
    """Return, for each of `rows`, the id of the first row of its picture.

    `rows` is in the order of the ids, and contains all rows of each picture or none.
    """
    firsts: dict[tuple[int, object], int] = {}
    return [
        row.id
        if row.digest is None and not row.source
        else firsts.setdefault((row.label_id, row_key(row)), row.id)
        for row in rows
    ]


def read_companions(
    connection: sqlite3.Connection, rows: Sequence[ItemRow], last: int
) -> Iterator[ItemRow]:
    """Yield the rows with ids up to `last` that belong to the pictures of `rows`."""
    wanted = {(row.label_id, row_key(row)) for row in rows}
    times: dict[int, list[str]] = {}
    for row in rows:
        if row.digest is None and row.source:
            times.setdefault(row.label_id, []).append(row.created_at)
    queries: list[tuple[str, tuple[object, ...]]] = [
        ("digest BETWEEN ? AND ?", (label_id, key, key + DIGEST_BYTES * b"\xff"))
        for label_id, key in wanted
        if isinstance(key, bytes)
    ]
    # One query for all frames of a label: each reads every row of the label without a digest.
    queries += [
        ("digest IS NULL AND created_at BETWEEN ? AND ?", (label_id, min(known), max(known)))
        for label_id, known in times.items()
    ]
    for condition, bounds in queries:
        # Not `read_items`: sorting takes longer than finding the rows. "+id" makes SQLite use the
        # index of digests.
        for values in connection.execute(
            f"SELECT {ITEM_COLUMNS} FROM item WHERE label_id = ? AND {condition} AND +id <= ?",
            (*bounds, last),
        ):
            row = ItemRow(*values)
            if (row.label_id, row_key(row)) in wanted:
                yield row


class EnrolledPicture(NamedTuple):
    """An enrolled picture, for lists."""

    id: int
    """Id of its first code."""
    source: str
    time: str
    """When it was enrolled: UTC, ISO 8601."""
    codes: int
    kept: bool
    """Whether the picture itself is kept."""


def read_enrolled(connection: sqlite3.Connection, label_id: int) -> list[EnrolledPicture]:
    """Return the pictures under the label with this id, the oldest first."""
    # With a single min(), SQLite takes the other columns from the row that has the minimum.
    query = (
        "SELECT min(item.id), source, created_at, count(*), total(picture.item_id IS NOT NULL) "
        "FROM item LEFT JOIN picture ON picture.item_id = item.id WHERE label_id = ? "
        f"GROUP BY {KEY_SQL} ORDER BY min(item.id)"
    )
    return [
        EnrolledPicture(first, redact(source), time, codes, bool(kept))
        for first, source, time, codes, kept in connection.execute(query, (label_id,))
    ]


def count_rows(rows: Iterable[ItemRow]) -> Counts:
    """Return the number of pictures and codes in `rows`, all of one label."""
    keys = [row_key(row) for row in rows]
    return Counts(len(set(keys)), len(keys))


def count_by_label(connection: sqlite3.Connection) -> dict[str, Counts]:
    """Return the number of pictures and codes of each label, in the order of the labels' names."""
    query = (
        f"SELECT name, count(DISTINCT {KEY_SQL}), count(*) "
        "FROM label JOIN item ON label_id = label.id GROUP BY label.id ORDER BY name"
    )
    return {name: Counts(*counts) for name, *counts in connection.execute(query)}


def count_pictures(connection: sqlite3.Connection, label_ids: Iterable[int]) -> int:
    """Return the number of pictures under the labels with these ids."""
    query = f"SELECT count(DISTINCT {KEY_SQL}) FROM item WHERE label_id = ?"
    return sum(connection.execute(query, (label_id,)).fetchone()[0] for label_id in label_ids)


def count_enrolled(pictures: Iterable[Sequence[int | None]]) -> EnrollCounts:
    """Return the counts for the ids that `Gallery.enroll` returned, grouped by picture.

    A picture is new if its first code is new: its first code is that of the whole picture.
    """
    added = known = codes = 0
    for ids in pictures:
        codes += len(ids) - ids.count(None)
        added += ids[0] is not None
        known += ids[0] is None
    return EnrollCounts(added, codes, known)


def group_ids(codes: Sequence[LabeledCode], ids: Sequence[int | None]) -> list[list[int | None]]:
    """Group the `ids` of `codes` by picture."""
    groups: dict[object, list[int | None]] = {}
    for index, (code, item_id) in enumerate(zip(codes, ids, strict=True)):
        if code.digest is not None:
            key: object = (code.label, code.digest[:DIGEST_BYTES])
        else:
            key = (code.label, code.source) if code.source else index
        groups.setdefault(key, []).append(item_id)
    return list(groups.values())
