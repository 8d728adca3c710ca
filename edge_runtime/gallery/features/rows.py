"""The rows of the tables feature and picture. Each has a checksum over its values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from edge_runtime.fitting.quantized import QuantizedFeatures
from edge_runtime.gallery.rows import checksum_of


class FeatureRow(NamedTuple):
    """A row of the table feature."""

    item_id: int
    value: bytes
    """Features, int8."""
    checksum: int

    def intact(self) -> bool:
        """Return whether the checksum matches."""
        return self.checksum == checksum_of(self[:-1])

    @property
    def features(self) -> QuantizedFeatures:
        """The features, int8 [F]."""
        return np.frombuffer(self.value, np.int8)


def read_features(connection: sqlite3.Connection, after: int = 0) -> Iterator[FeatureRow]:
    """Yield rows with an id above `after` in the order of their ids, without checking them."""
    for row in connection.execute(
        "SELECT item_id, value, checksum FROM feature WHERE item_id > ? ORDER BY item_id",
        (after,),
    ):
        yield FeatureRow(*row)


def read_feature(connection: sqlite3.Connection, item_id: int) -> QuantizedFeatures | None:
    """Return the features of a code, int8 [F]; None if it has none, or if they are corrupt."""
    values = connection.execute(
        "SELECT item_id, value, checksum FROM feature WHERE item_id = ?", (item_id,)
    ).fetchone()
    row = None if values is None else FeatureRow(*values)
    return row.features if row is not None and row.intact() else None


def write_features(
    connection: sqlite3.Connection, rows: Iterable[tuple[int, QuantizedFeatures]]
) -> None:
    """Insert the features of codes."""
    values = ((item_id, features.tobytes()) for item_id, features in rows)
    connection.executemany(
        "INSERT INTO feature VALUES (?, ?, ?)", ((*row, checksum_of(row)) for row in values)
    )


def read_pictures(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes | None]]:
    """Yield ids of codes with their kept picture (JPEG), or None where the checksum is wrong."""
    for *values, checksum in connection.execute(
        "SELECT item_id, jpeg, checksum FROM picture ORDER BY item_id"
    ):
        yield values[0], values[1] if checksum == checksum_of(tuple(values)) else None


def read_picture(connection: sqlite3.Connection, item_id: int) -> bytes:
    """Return the kept picture (JPEG) of a code; b"" if it has none, or if it is corrupt."""
    row = connection.execute(
        "SELECT item_id, jpeg, checksum FROM picture WHERE item_id = ?", (item_id,)
    ).fetchone()
    return row[1] if row is not None and row[2] == checksum_of(tuple(row[:2])) else b""


def write_pictures(connection: sqlite3.Connection, rows: Iterable[tuple[int, bytes]]) -> None:
    """Insert kept pictures (JPEG) of codes."""
    connection.executemany(
        "INSERT INTO picture VALUES (?, ?, ?)", ((*row, checksum_of(row)) for row in rows)
    )
