"""The whole content of a gallery at one generation, for export and for merging."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.errors import GalleryDamagedError
from edge_runtime.gallery.features.rows import read_features, read_pictures
from edge_runtime.gallery.records import LabelData, LabeledCode
from edge_runtime.gallery.rows import (
    ItemRow,
    Meta,
    read_items,
    read_labels,
    read_positions,
    read_thumbnails,
)
from edge_runtime.gallery.schema import damaged
from edge_runtime.position import Position
from edge_runtime.redaction import redact


@dataclass(frozen=True)
class Content:
    """Codes with their ids, features and kept pictures, and the data stored with their labels."""

    codes: list[tuple[int, LabeledCode]]
    label_data: dict[str, LabelData]
    """Only labels that have a payload or a thumbnail."""


def read_content(connection: sqlite3.Connection, path: Path, meta: Meta) -> Content:
    """Read everything, inside a transaction; raises `GalleryDamagedError`."""
    names, label_data = read_label_data(connection, path)
    features = {row.item_id: row for row in read_features(connection)}
    pictures = dict(read_pictures(connection))
    codes = []
    for code_id, item in read_codes(connection, path, meta, names):
        stored, picture = features.get(code_id), pictures.get(code_id, b"")
        if (stored is not None and not stored.intact()) or picture is None:
            raise _damaged_code(path, code_id)
        values = None if stored is None else stored.features
        codes.append((code_id, replace(item, features=values, picture=picture)))
    return Content(codes, label_data)


def read_label_data(
    connection: sqlite3.Connection, path: Path
) -> tuple[dict[int, str], dict[str, LabelData]]:
    """Return the labels by id, and what is stored with those that have a payload or a thumbnail.

    Raises `GalleryDamagedError`.
    """
    labels = {label.id: label for label in read_labels(connection)}
    thumbnails = dict(read_thumbnails(connection))
    for label in labels.values():
        if not label.intact() or thumbnails.get(label.id, b"") is None:
            raise damaged(path, f"the checksum of label {label.id} does not match")
    label_data = {
        label.name: LabelData(label.payload, thumbnails.get(label.id) or b"")
        for label in labels.values()
    }
    names = {label.id: label.name for label in labels.values()}
    empty = LabelData()
    return names, {name: data for name, data in label_data.items() if data != empty}


def read_codes(
    connection: sqlite3.Connection, path: Path, meta: Meta, names: Mapping[int, str]
) -> Iterator[tuple[int, LabeledCode]]:
    """Yield all codes with their ids, without features and pictures.

    `names` are the labels by id. Raises `GalleryDamagedError`.
    """
    width = 8 * words_of(meta.bits)
    positions = dict(read_positions(connection))
    for row in read_items(connection):
        position = positions.get(row.id)
        if (
            not row.intact(width)
            or row.label_id not in names
            or (position is None and row.id in positions)
        ):
            raise _damaged_code(path, row.id)
        yield row.id, labeled_code(row, names[row.label_id], position)


def labeled_code(row: ItemRow, label: str, position: Position | None) -> LabeledCode:
    """Return the code of an intact row."""
    code = np.frombuffer(row.code, "<u8").astype(np.uint64, copy=False)
    return LabeledCode(label, code, redact(row.source), row.digest, position)


def _damaged_code(path: Path, code_id: int) -> GalleryDamagedError:
    return damaged(path, f"the checksum of code {code_id} does not match")
