"""The whole content of a gallery at one generation, for export and for merging."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.gallery.features.rows import read_features, read_pictures
from edge_runtime.gallery.records import LabelData, LabeledCode
from edge_runtime.gallery.rows import (
    Meta,
    read_items,
    read_labels,
    read_positions,
    read_thumbnails,
)
from edge_runtime.gallery.schema import damaged
from edge_runtime.redaction import redact


@dataclass(frozen=True)
class Content:
    """Codes with their ids, features and kept pictures, and the data stored with their labels."""

    codes: list[tuple[int, LabeledCode]]
    label_data: dict[str, LabelData]
    """Only labels that have a payload or a thumbnail."""


def read_content(connection: sqlite3.Connection, path: Path, meta: Meta) -> Content:
    """Read everything, inside a transaction; raises `GalleryDamagedError`."""
    width = 8 * words_of(meta.bits)
    labels = {label.id: label for label in read_labels(connection)}
    positions = dict(read_positions(connection))
    thumbnails = dict(read_thumbnails(connection))
    for label in labels.values():
        if not label.intact() or thumbnails.get(label.id, b"") is None:
            raise damaged(path, f"the checksum of label {label.id} does not match")
    features = {row.item_id: row for row in read_features(connection)}
    pictures = dict(read_pictures(connection))
    codes = []
    for row in read_items(connection):
        position, stored = positions.get(row.id), features.get(row.id)
        picture = pictures.get(row.id, b"")
        if (
            not row.intact(width)
            or row.label_id not in labels
            or (position is None and row.id in positions)
            or (stored is not None and not stored.intact())
            or picture is None
        ):
            raise damaged(path, f"the checksum of code {row.id} does not match")
        code = np.frombuffer(row.code, "<u8").astype(np.uint64, copy=False)
        name = labels[row.label_id].name
        values = None if stored is None else stored.features
        item = LabeledCode(name, code, redact(row.source), row.digest, position, values, picture)
        codes.append((row.id, item))
    label_data = {
        label.name: LabelData(label.payload, thumbnails.get(label.id) or b"")
        for label in labels.values()
    }
    empty = LabelData()
    return Content(codes, {name: data for name, data in label_data.items() if data != empty})
