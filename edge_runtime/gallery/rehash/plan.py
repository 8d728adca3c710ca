"""Which codes of a gallery another model can compute, and from which kept pictures."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edge_runtime.gallery.pictures import DIGEST_BYTES, row_key
from edge_runtime.gallery.query import VIEWS
from edge_runtime.gallery.rows import (
    Generation,
    ItemRow,
    checksum_of,
    latest_generation,
    read_items,
    read_labels,
)
from edge_runtime.gallery.schema import damaged


class Task(NamedTuple):
    """A code to compute."""

    picture_id: int
    """The code that has the kept picture."""
    item_id: int
    view: int
    origin: int
    """Tells whether a result in the side file was computed from this view of this picture."""


@dataclass
class Plan:
    """What to compute for one generation of the gallery."""

    generation: Generation
    tasks: list[Task] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    """Ids of codes without a kept picture."""
    missing_pictures: dict[str, int] = field(default_factory=dict)
    """By label."""


def make_plan(connection: sqlite3.Connection, path: Path, *, change: bool) -> Plan:
    """Return what to compute: all codes for another model, else those that lack features."""
    plan = Plan(latest_generation(connection))
    pictures = dict(connection.execute("SELECT item_id, checksum FROM picture"))
    skipped = set()
    if not change:
        skipped = {number for (number,) in connection.execute("SELECT item_id FROM feature")}
    labels = {label.id: label.name for label in read_labels(connection)}
    rows = list(read_items(connection))
    whole = {
        (row.label_id, row.digest): row.id
        for row in rows
        if row.digest is not None and row.id in pictures
    }
    latest: dict[tuple[int, object], int] = {}
    missing = set()
    for row in rows:
        if not row.intact(len(row.code)):
            raise damaged(path, f"the checksum of code {row.id} does not match")
        if row.id in pictures and row.digest is None:
            latest[row.label_id, row_key(row)] = row.id
        if row.id in skipped:
            continue
        picture_id, view = _view_of(row, whole, latest)
        if picture_id is None or not 0 <= view < VIEWS:
            plan.missing.append(row.id)
            missing.add((labels.get(row.label_id, ""), row_key(row)))
        else:
            origin = checksum_of((picture_id, pictures[picture_id], view))
            plan.tasks.append(Task(picture_id, row.id, view, origin))
    plan.missing_pictures = dict(sorted(Counter(name for name, _ in missing).items()))
    return plan


def _view_of(
    row: ItemRow,
    whole: dict[tuple[int, bytes], int],
    latest: dict[tuple[int, object], int],
) -> tuple[int | None, int]:
    """Return the id of the code that has the picture of `row`, and the number of its view.

    A frame has no digest. The codes of its views follow that of the whole picture.
    """
    if row.digest is None:
        picture_id = latest.get((row.label_id, row_key(row)))
        return picture_id, row.id - (picture_id or 0)
    suffix = row.digest[DIGEST_BYTES:]
    view = 0 if not suffix else suffix[0] if len(suffix) == 1 else -1
    return whole.get((row.label_id, row.digest[:DIGEST_BYTES])), view
