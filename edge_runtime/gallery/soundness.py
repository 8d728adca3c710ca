"""Which ids a gallery may have, and whether a corrupt schema may run code.

Ids have limits, since arrays are as long as the largest label id.
"""

from __future__ import annotations

import re
import sqlite3

from edge_runtime.database.soundness import SchemaRow, shown

MOST_LABEL_ID = 1 << 24
MOST_ID = 1 << 53
"""Of codes and of changes."""
_ACTIVE = re.compile(r"\bVIRTUAL\b|\bGENERATED\b|\bAS\b|\bWHERE\b|/\*|--|[\"`\[]", re.IGNORECASE)
"""What the statements of a gallery never contain, and what code needs, or hides behind."""
_IDS = (
    ("a label", MOST_LABEL_ID, "id", "label"),
    ("a code", MOST_ID, "id", "item"),
    ("the next code", MOST_ID, "seq", "sqlite_sequence"),
    ("a change", MOST_ID, "number", "generation"),
)


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
