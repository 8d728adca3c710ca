"""What a gallery shares with its fleet, and the digest of it.

Two galleries whose shared content is equal have the same digest, whatever the order of their rows.
Pending pictures do not count, and neither do labels without a payload and a thumbnail.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.errors import InputError
from edge_runtime.fleet.kinds import Add, Label
from edge_runtime.fleet.operations import to_line
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.pictures import DIGEST_BYTES, row_key, view_digest
from edge_runtime.gallery.records import LabeledCode
from edge_runtime.gallery.rows import ITEM_COLUMNS, ItemRow, Meta, checksum_of, read_labels
from edge_runtime.gallery.schema import damaged
from edge_runtime.gallery.shared import PENDING, SHARED
from edge_runtime.position import Position
from edge_runtime.redaction import redact

_ITEMS = f"""
    SELECT {", ".join(f"item.{name}" for name in ITEM_COLUMNS.split(", "))},
        feature.value, feature.checksum, latitude, longitude, heading, position.checksum
    FROM item LEFT JOIN feature ON feature.item_id = item.id
    LEFT JOIN position ON position.item_id = item.id
    WHERE label_id = ? AND {{}} ORDER BY digest, created_at, source, item.id"""
ALL = "1"
"""Which codes to read, as SQL, as `SHARED` and `PENDING` are."""
_WIDTH = 7
"""Columns of an `ItemRow`."""


def content_digest(pictures: Iterable[Add], labels: Iterable[Label]) -> str:
    """Return the SHA-256 of the sorted SHA-256 digests of the canonical lines, without sources.

    It takes 32 bytes of memory per picture.
    """
    named = (label for label in labels if label.payload or label.thumbnail)
    counted: Iterator[Add | Label] = chain(pictures, named)
    digests = bytearray()
    for operation in counted:
        digests += hashlib.sha256(to_line(operation, source=False)).digest()
    rows = np.frombuffer(bytes(digests), f"S{DIGEST_BYTES}")
    return hashlib.sha256(np.sort(rows).tobytes()).hexdigest()


def gallery_digest(gallery: Gallery) -> str:
    """Return the content digest of what `gallery` shares; raises `GalleryDamagedError`."""
    with gallery.reading() as connection:
        return shared_digest(connection, gallery.path, Meta(gallery.model_id, gallery.bits))


def shared_digest(connection: sqlite3.Connection, path: Path, meta: Meta) -> str:
    """Return the content digest of what the gallery shares, inside a transaction."""
    return content_digest(
        read_pictures(connection, path, meta, SHARED), read_shared_labels(connection, path)
    )


def shared_content(gallery: Gallery) -> Iterator[Add]:
    """Yield the pictures that a signed version named; raises `GalleryDamagedError`."""
    return _pictures(gallery, SHARED)


def shared_labels(gallery: Gallery) -> Iterator[Label]:
    """Yield the data of labels that a signed version named; raises `GalleryDamagedError`."""
    with gallery.reading() as connection:
        yield from read_shared_labels(connection, gallery.path)


def pending_pictures(gallery: Gallery) -> Iterator[Add]:
    """Yield the pictures that no signed version has named: the board's proposals."""
    return _pictures(gallery, PENDING)


def every_picture(gallery: Gallery) -> Iterator[Add]:
    """Yield all pictures, as the desk publishes them; raises `GalleryDamagedError`."""
    return _pictures(gallery, ALL)


def every_label(gallery: Gallery) -> Iterator[Label]:
    """Yield the data of all labels that have any, as the desk publishes it."""
    with gallery.reading() as connection:
        yield from _labels(connection, gallery.path, "EXISTS (SELECT 1 FROM item WHERE {})")


def _pictures(gallery: Gallery, which: str) -> Iterator[Add]:
    with gallery.reading() as connection:
        meta = Meta(gallery.model_id, gallery.bits)
        yield from read_pictures(connection, gallery.path, meta, which)


def read_pictures(
    connection: sqlite3.Connection, path: Path, meta: Meta, which: str
) -> Iterator[Add]:
    """Yield pictures with all views, one label after the other, inside a transaction.

    `which` is `ALL`, `SHARED` or `PENDING`. Raises `GalleryDamagedError`.
    """
    for _, add in read_numbered(connection, path, meta, which):
        yield add


def read_numbered(
    connection: sqlite3.Connection,
    path: Path,
    meta: Meta,
    which: str,
    values: Sequence[object] = (),
) -> Iterator[tuple[list[int], Add]]:
    """Yield pictures as `read_pictures` does, each after the ids of its codes.

    `values` are those of the question marks in `which`.
    """
    for label in read_labels(connection):
        if not label.intact():
            raise damaged(path, f"the checksum of label {label.id} does not match")
        rows = connection.execute(_ITEMS.format(which), (label.id, *values))
        for _, views in groupby(rows, lambda row: row_key(ItemRow(*row[:_WIDTH]))):
            yield _picture(label.name, list(views), path, meta)


def find_picture(
    connection: sqlite3.Connection, path: Path, meta: Meta, label: tuple[int, str], digest: bytes
) -> tuple[list[int], Add] | None:
    """Return the ids of the codes of a picture, and the picture; None if `label` has none.

    `label` is an id and its name.
    """
    end = digest + DIGEST_BYTES * b"\xff"
    statement = _ITEMS.format("digest BETWEEN ? AND ?")
    rows = connection.execute(statement, (label[0], digest, end)).fetchall()
    return _picture(label[1], rows, path, meta) if rows else None


def _picture(
    label: str, views: list[tuple[object, ...]], path: Path, meta: Meta
) -> tuple[list[int], Add]:
    """Return the ids and the picture of its rows."""
    items, features, position = [], [], None
    for row in views:
        item = ItemRow(*row[:_WIDTH])  # type: ignore[arg-type]  # checked by intact()
        value, checksum, *place, place_checksum = row[_WIDTH:]
        intact = item.intact(8 * words_of(meta.bits)) and (
            value is None or checksum == checksum_of((item.id, value))
        )
        if intact and place_checksum is not None:
            intact = place_checksum == checksum_of((item.id, *place))
            if intact and position is None:
                position = _position(place)
                intact = position is not None
        if not intact:
            raise damaged(path, f"the checksum of code {item.id} does not match")
        items.append(item)
        features.append(value if isinstance(value, bytes) else b"")
    octets = (meta.bits + 7) // 8
    return [item.id for item in items], Add(
        label,
        _digest(items),
        tuple(item.code[:octets] for item in items),
        tuple(features) if any(features) else None,
        position,
        redact(items[0].source),
    )


def _position(place: list[object]) -> Position | None:
    try:
        return Position(*place)  # type: ignore[arg-type]
    except (InputError, TypeError):
        return None


def _digest(items: list[ItemRow]) -> bytes:
    """Return the digest of the picture; that of a camera frame is made from what is stored."""
    first = items[0]
    if first.digest is not None and len(first.digest) >= DIGEST_BYTES:
        return first.digest[:DIGEST_BYTES]
    parts = (first.digest, first.created_at, first.source, [item.code for item in items])
    return hashlib.sha256(b"edge-runtime picture " + repr(parts).encode("utf-8")).digest()


def read_shared_labels(connection: sqlite3.Connection, path: Path) -> Iterator[Label]:
    """Yield the shared data of labels with shared pictures, inside a transaction."""
    marked = "EXISTS (SELECT 1 FROM shared_label WHERE shared_label.label_id = label.id)"
    used = f"EXISTS (SELECT 1 FROM item WHERE {{}} AND {SHARED})"
    return _labels(connection, path, f"{marked} AND {used}")


def _labels(connection: sqlite3.Connection, path: Path, which: str) -> Iterator[Label]:
    """Yield the data of labels that have any; `which` is a condition with a place for items."""
    condition = which.format("item.label_id = label.id")
    for number, name, payload, checksum, jpeg, jpeg_checksum in connection.execute(
        "SELECT label.id, name, payload, label.checksum, jpeg, thumbnail.checksum FROM label "
        f"LEFT JOIN thumbnail ON label_id = label.id WHERE {condition} ORDER BY label.id"
    ):
        intact = checksum == checksum_of((number, name, payload)) and (
            jpeg is None or jpeg_checksum == checksum_of((number, jpeg))
        )
        if not intact:
            raise damaged(path, f"the checksum of label {number} does not match")
        if payload or jpeg:
            yield Label(name, payload, jpeg or b"")


def codes_of(add: Add, bits: int, jpeg: bytes = b"") -> list[LabeledCode]:
    """Return the codes of a picture, to enroll them; `jpeg` is the picture to keep."""
    width = 8 * words_of(bits)
    return [
        LabeledCode(
            add.label,
            np.frombuffer(code.ljust(width, b"\0"), "<u8").astype(np.uint64, copy=False),
            add.source,
            view_digest(add.digest, view),
            add.position,
            np.frombuffer(add.features[view], np.int8)
            if add.features is not None and add.features[view]
            else None,
            b"" if view else jpeg,
        )
        for view, code in enumerate(add.codes)
    ]
