"""The rows of the table sound. Each has a checksum over its values."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.gallery.rows import checksum_of, read_labels
from edge_runtime.redaction import redact

MOST_SOUNDS = 16
"""Sounds of a label; a further one replaces the oldest."""
MOST_FINGERPRINTS = 4096
"""Fingerprints of a sound: 47 s, 16 KB."""


class SoundRow(NamedTuple):
    """A row of the table sound, without its id."""

    label_id: int
    digest: bytes
    """Digest of the fingerprints; a label stores each sound once."""
    source: str
    value: bytes
    """Fingerprints, little-endian uint32."""
    checksum: int

    def intact(self) -> bool:
        """Return whether the checksum matches, and the types too."""
        return (
            isinstance(self.value, bytes)
            and isinstance(self.digest, bytes)
            and isinstance(self.source, str)
            and 0 < len(self.value) <= 4 * MOST_FINGERPRINTS
            and len(self.value) % 4 == 0
            and self.checksum == checksum_of(self[:-1])
        )


@dataclass(frozen=True, eq=False)
class StoredSound:
    """A sound that is enrolled with a label."""

    label: str
    source: str
    """The clip that it came from."""
    fingerprints: NDArray[np.uint32]
    """uint32 [n] (see `edge_runtime.sound.fingerprint`)."""


def read_sound_rows(
    connection: sqlite3.Connection, label_id: int | None = None
) -> Iterator[SoundRow]:
    """Yield rows in the order they were added, of one label or all, without checking them."""
    where, values = ("", ()) if label_id is None else ("WHERE label_id = ?", (label_id,))
    for row in connection.execute(
        f"SELECT label_id, digest, source, value, checksum FROM sound {where} ORDER BY id", values
    ):
        yield SoundRow(*row)


def read_sounds(connection: sqlite3.Connection, label_id: int | None = None) -> list[StoredSound]:
    """Return the intact sounds of one label or of all."""
    names = {label.id: label.name for label in read_labels(connection, label_id)}
    return [
        StoredSound(
            names[row.label_id],
            redact(row.source),
            np.frombuffer(row.value, "<u4").astype(np.uint32, copy=False),
        )
        for row in read_sound_rows(connection, label_id)
        if row.label_id in names and row.intact()
    ]


def write_sound(
    connection: sqlite3.Connection, label_id: int, source: str, fingerprints: NDArray[np.uint32]
) -> bool:
    """Add a sound to a label unless it has it; return whether it was added."""
    value = fingerprints[:MOST_FINGERPRINTS].astype("<u4").tobytes()
    digest = hashlib.sha256(value).digest()
    row = (label_id, digest, redact(source).encode(errors="replace").decode(), value)
    added = connection.execute(
        "INSERT OR IGNORE INTO sound (label_id, digest, source, value, checksum) "
        "VALUES (?, ?, ?, ?, ?)",
        (*row, checksum_of(row)),
    ).rowcount
    connection.execute(
        "DELETE FROM sound WHERE label_id = ?1 AND id NOT IN "
        "(SELECT id FROM sound WHERE label_id = ?1 ORDER BY id DESC LIMIT ?2)",
        (label_id, MOST_SOUNDS),
    )
    return bool(added)


def move_sounds(
    connection: sqlite3.Connection, source: int, target: int, only: list[bytes] | None = None
) -> list[bytes]:
    """Give the sounds of one label to another; return the digests of those that were moved.

    `only` these digests are moved. What the other label has already is moved, too, since it is the
    same.
    """
    moved = []
    for row in list(read_sound_rows(connection, source)):
        if only is not None and row.digest not in only:
            continue
        values = row._replace(label_id=target)[:-1]
        connection.execute(
            "DELETE FROM sound WHERE label_id = ? AND digest = ?", (source, row.digest)
        )
        if row.intact():
            connection.execute(
                "INSERT OR IGNORE INTO sound (label_id, digest, source, value, checksum) "
                "VALUES (?, ?, ?, ?, ?)",
                (*values, checksum_of(values)),
            )
            moved.append(row.digest)
    return moved


def sound_faults(connection: sqlite3.Connection, labels: set[int]) -> Iterator[str]:
    """Yield one line per sound that is corrupt, or whose label is missing; `labels` are the ids."""
    for row in read_sound_rows(connection):
        if not row.intact():
            yield f"label {row.label_id}: the checksum of a sound does not match"
        elif row.label_id not in labels:
            yield f"label {row.label_id}: it has a sound, but is missing"
