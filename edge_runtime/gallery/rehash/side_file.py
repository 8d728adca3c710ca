"""The side file: results that were computed and are not in the gallery yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge_runtime.database.soundness import require_files
from edge_runtime.database.transaction import transaction
from edge_runtime.gallery.rows import Meta, checksum_of
from edge_runtime.gallery.schema import BUSY_TIMEOUT_S, translated


def open_side(side: Path, meta: Meta) -> sqlite3.Connection:
    """Open the side file for results of the model `meta`, and lock it until it is closed.

    A corrupt file, or one for another model, starts over.
    """
    try:
        return _try_open(side, meta)
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
            with translated(side):
                raise
    with translated(side):
        remove_side(side)
        return _try_open(side, meta)


def _try_open(side: Path, meta: Meta) -> sqlite3.Connection:
    require_files(side)
    connection = sqlite3.connect(side, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        with transaction(connection, "EXCLUSIVE"):
            connection.execute(
                "CREATE TABLE IF NOT EXISTS result (item_id INTEGER PRIMARY KEY, "
                "origin INTEGER, code BLOB, features BLOB, checksum INTEGER)"
            )
            connection.execute("CREATE TABLE IF NOT EXISTS target (model_id TEXT, bits INTEGER)")
            found = connection.execute("SELECT model_id, bits FROM target").fetchall()
            if found != [meta]:
                connection.execute("DELETE FROM result")
                connection.execute("DELETE FROM target")
                connection.execute("INSERT INTO target VALUES (?, ?)", meta)
    except BaseException:
        connection.close()
        raise
    return connection


def remove_side(side: Path) -> None:
    """Delete the side file, if there is one."""
    for suffix in ("-journal", ""):
        side.with_name(side.name + suffix).unlink(missing_ok=True)


class Result(NamedTuple):
    """A row of the side file."""

    item_id: int
    origin: int
    code: bytes
    features: bytes | None


def read_results(connection: sqlite3.Connection) -> Iterator[Result]:
    """Yield the intact rows of the side file in the order of their ids."""
    for *values, checksum in connection.execute(
        "SELECT item_id, origin, code, features, checksum FROM result ORDER BY item_id"
    ):
        if checksum == checksum_of(tuple(values)):
            yield Result(*values)
