"""The history as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from edge_runtime.history.reading import StoredEvent

COLUMNS = (
    "id",
    "time",
    "kind",
    "label",
    "confidence",
    "agreement",
    "distance",
    "board",
    "camera",
    "region",
    "reason",
    "next_label",
    "snapshot",
    "wrong",
    "right_label",
    "origin",
)
_OF_EVENT = 12
"""The first columns, which are fields of the event."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def header() -> str:
    """Return the first line."""
    return _lines([COLUMNS])


def lines(events: Iterable[StoredEvent]) -> str:
    """Return one line for each event."""
    rows = []
    for one in events:
        event = one.event
        right = one.wrong.label if one.wrong else None
        values = {name: getattr(event, name) for name in COLUMNS[:_OF_EVENT]}
        values["confidence"] = round(event.confidence, 4)
        values["agreement"] = round(event.agreement, 4)
        flags = [int(one.snapshot), int(one.wrong is not None), right, event.origin]
        rows.append([_cell(value) for value in (*values.values(), *flags)])
    return _lines(rows)


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
