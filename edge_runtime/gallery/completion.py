"""What enrolled pictures lack: features, and the picture itself. Older galleries have neither.

Enrolling a photo again adds what is missing, and changes nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from edge_runtime.gallery.features.rows import write_features, write_pictures
from edge_runtime.gallery.pictures import DIGEST_BYTES
from edge_runtime.gallery.records import LabeledCode, check_label

_QUERY = """
    SELECT id, digest, feature.item_id IS NULL, picture.item_id IS NULL FROM item
    LEFT JOIN feature ON feature.item_id = id LEFT JOIN picture ON picture.item_id = id
    WHERE label_id = ?"""


class Lacking(NamedTuple):
    """What an enrolled picture lacks."""

    views: tuple[int, ...]
    """The numbers of the views whose codes have no features."""
    picture: bool
    """Whether the picture was not kept."""


def lacking(connection: sqlite3.Connection, label: str, digest: bytes) -> Lacking | None:
    """Return what the picture with this `digest` lacks; None if `label` does not have it."""
    rows = connection.execute(
        f"{_QUERY} AND digest BETWEEN ? AND ?",
        (*_owner(connection, label), digest, digest + DIGEST_BYTES * b"\xff"),
    ).fetchall()
    whole = [row for row in rows if row[1] == digest]
    if not whole:
        return None
    views = ((row[1][len(digest) :] or b"\0", row[2]) for row in rows)
    return Lacking(
        tuple(sorted(suffix[0] for suffix, missing in views if missing and len(suffix) == 1)),
        bool(whole[0][3]),
    )


def complete(connection: sqlite3.Connection, entries: Iterable[tuple[int, LabeledCode]]) -> bool:
    """Add features and pictures of `entries` to enrolled codes without; return if any was added.

    Each entry is given with the id of its label. An entry without a digest is ignored.
    """
    added = False
    for owner, entry in entries:
        if entry.digest is None or (entry.features is None and not entry.picture):
            continue
        row = connection.execute(f"{_QUERY} AND digest = ?", (owner, entry.digest)).fetchone()
        if row is None:
            continue
        item_id, _, no_features, no_picture = row
        if no_features and entry.features is not None:
            write_features(connection, [(item_id, entry.features)])
            added = True
        if no_picture and entry.picture:
            write_pictures(connection, [(item_id, entry.picture)])
            added = True
    return added


def _owner(connection: sqlite3.Connection, label: str) -> tuple[int]:
    row = connection.execute(
        "SELECT id FROM label WHERE name = ?", (check_label(label),)
    ).fetchone()
    return row or (0,)  # the ids of labels begin at 1
