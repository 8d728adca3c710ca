"""Whether a database is what it claims to be, checked before anything in it is used.

A gallery file may come from elsewhere, and a schema is a program: triggers, views and generated
columns run when a table is used. So a gallery has exactly the tables of its schema version, and
SQLite trusts nothing in them. Ids have limits, since arrays are as long as the largest label id.
"""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache

MOST_LABEL_ID = 1 << 24
MOST_ID = 1 << 53
"""Of codes and of changes."""
MOST_VALUE_BYTES = 1 << 26
"""Size of one value in the database; the largest that is written is a fitted metric of 1 MB."""

_CREATE = re.compile(r"CREATE (TABLE|UNIQUE INDEX|INDEX) (\w+)(?: ON (\w+))?")
_ACTIVE = re.compile(r"\bVIRTUAL\b|\bGENERATED\b|\bAS\b|\bWHERE\b|/\*|--|[\"`\[]", re.IGNORECASE)
"""What the statements of a gallery never contain, and what code needs, or hides behind."""
_IDS = (
    ("a label", MOST_LABEL_ID, "id", "label"),
    ("a code", MOST_ID, "id", "item"),
    ("the next code", MOST_ID, "seq", "sqlite_sequence"),
    ("a change", MOST_ID, "number", "generation"),
)
SchemaRow = tuple[str, str, str, str | None]
"""Type, name, table and SQL, as in the table sqlite_schema."""


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


def id_out_of_range(connection: sqlite3.Connection) -> str:
    """Return which id is outside its limits, or "" if none is."""
    # One query for each: SQLite reads the whole table for a minimum and a maximum in one.
    ends = ", ".join(
        f"(SELECT {end}({column}) FROM {table})"
        for _, _, column, table in _IDS
        for end in ("min", "max")
    )
    values = connection.execute(f"SELECT {ends}").fetchone()
    for (what, most, *_), pair in zip(
        _IDS, zip(values[::2], values[1::2], strict=True), strict=True
    ):
        for value in pair:
            if value is not None and not (isinstance(value, int) and 0 <= value <= most):
                return f"the id of {what} is out of range: {shown(value)}"
    return ""


def runs_code(connection: sqlite3.Connection) -> SchemaRow | None:
    """Return a part of a corrupt schema that may run code when a table is read; else None.

    A gallery has no triggers, views, virtual tables or generated columns.
    """
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    for kind, name, table, sql in rows:
        if kind not in ("table", "index") or _ACTIVE.search(str(sql)):
            return kind, name, table, sql
    return None


def shown(value: object) -> str:
    """Return a value of the file for a message, short and without control characters."""
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."
