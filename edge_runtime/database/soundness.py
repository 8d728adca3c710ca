"""Whether a database is what it claims to be, checked before anything in it is used.

A file may come from elsewhere, and a schema is a program: triggers, views and generated columns run
when a table is used. So a file has exactly the tables of its schema version, and SQLite trusts
nothing in them.
"""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache
from pathlib import Path

from edge_runtime.errors import StorageError
from edge_runtime.system.files import not_regular

MOST_VALUE_BYTES = 1 << 26
"""Size of one value in the database; the largest that is written is a fitted metric of 1 MB."""

_CREATE = re.compile(r"CREATE (TABLE|UNIQUE INDEX|INDEX) (\w+)(?: ON (\w+))?")
SchemaRow = tuple[str, str, str, str | None]
"""Type, name, table and SQL, as in the table sqlite_schema."""


def require_files(path: Path) -> None:
    """Raise `StorageError` if the database `path`, or a file beside it that SQLite opens, is none.

    SQLite would wait for a FIFO forever.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        part = Path(f"{path}{suffix}")
        if kind := not_regular(part):
            raise StorageError(
                f"this is {kind}, not a regular file",
                where=part,
                remedy="remove it, or use another path",
            )


def restrict(connection: sqlite3.Connection) -> None:
    """Let SQLite trust nothing in the file: functions, cells of its pages, sizes of values."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_VALUE_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    # A mapped file ends the process if the disk fails.
    connection.execute("PRAGMA mmap_size = 0")


@lru_cache
def expected_schema(steps: tuple[tuple[str, ...], ...]) -> frozenset[SchemaRow]:
    """Return the schema that these steps make.

    It is derived from their text, because making the tables to look at them takes a millisecond.
    """
    rows: dict[str, list[SchemaRow]] = {}
    for statement in (statement for step in steps for statement in step):
        if dropped := re.fullmatch(r"DROP TABLE (\w+)", statement):
            rows.pop(dropped[1], None)
        created = _CREATE.match(statement)
        if created is None:
            continue
        _kind, name, table = created.groups()
        if table is not None:
            rows[table].append(("index", name, table, statement))
            continue
        unique = len(re.findall(r"\bUNIQUE\b", statement))
        rows[name] = [("table", name, name, statement)] + [
            ("index", f"sqlite_autoindex_{name}_{number}", name, None)
            for number in range(1, unique + 1)
        ]
        if "AUTOINCREMENT" in statement:
            sequence = "sqlite_sequence"
            text = "CREATE TABLE sqlite_sequence(name,seq)"
            rows[sequence] = [("table", sequence, sequence, text)]
    return frozenset(row for listed in rows.values() for row in listed)


def foreign_table(
    connection: sqlite3.Connection, steps: tuple[tuple[str, ...], ...]
) -> SchemaRow | None:
    """Return a part of the schema that these steps did not make, or that is missing; else None."""
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    wrong = frozenset(map(tuple, found)) ^ expected_schema(steps)
    return min(wrong, key=repr) if wrong else None


def shown(value: object) -> str:
    """Return a value of the file for a message, short and without control characters."""
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."
