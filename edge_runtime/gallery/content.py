"""All that a gallery holds, at one generation: for export, and for merging it into another."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.gallery.records import Item, Note
from edge_runtime.gallery.rows import (
    Meta,
    read_items,
    read_labels,
    read_positions,
    read_thumbnails,
)
from edge_runtime.gallery.schema import damaged


@dataclass(frozen=True)
class Content:
    """Items with their ids, and what is kept with their labels."""

    items: list[tuple[int, Item]]
    notes: dict[str, Note]
    """Of the labels that have any."""


def read_content(connection: sqlite3.Connection, path: Path, meta: Meta) -> Content:
    """Everything, inside a transaction; raises `GalleryDamagedError` for what was not written."""
    width = 8 * words_of(meta.bits)
    labels = {label.id: label for label in read_labels(connection)}
    positions = dict(read_positions(connection))
    thumbnails = dict(read_thumbnails(connection))
    for label in labels.values():
        if not label.intact() or thumbnails.get(label.id, b"") is None:
            raise damaged(path, f"the checksum of label {label.id} does not match")
    items = []
    for row in read_items(connection):
        position = positions.get(row.id)
        if (
            not row.intact(width)
            or row.label_id not in labels
            or (position is None and row.id in positions)
        ):
            raise damaged(path, f"the checksum of item {row.id} does not match")
        code = np.frombuffer(row.code, "<u8").astype(np.uint64, copy=False)
        name = labels[row.label_id].name
        items.append((row.id, Item(name, code, row.source, row.digest, position)))
    notes = {
        label.name: Note(label.payload, thumbnails.get(label.id) or b"")
        for label in labels.values()
    }
    return Content(items, {name: note for name, note in notes.items() if note != Note()})
