"""Generate docs/report.schema.json and the table of fields in docs/PROFILING.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as shape

from edge_runtime.report.schema import SCHEMA_VERSION, Report

BEGIN = "<!-- fields: python -m edge_runtime.report -->"
"""Marker in docs/PROFILING.md. The table of fields that follows it is generated."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a report."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:edge-runtime:report:{SCHEMA_VERSION}",
        "title": f"edge-runtime profile report, version {SCHEMA_VERSION}",
    }
    return head | msgspec.json.schema(Report)


def fields(kind: type = Report, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, type and meaning of every field. A table is followed by its own fields."""
    about = shape.type_info(kind)
    assert isinstance(about, shape.StructType)
    for field in about.fields:
        inner, text = _unwrapped(field.type)
        path = f"{prefix}{field.name}"
        yield path, _name(inner), text
        table, suffix = _table(inner)
        if table is not None:
            yield from fields(table, f"{path}{suffix}.")


def _unwrapped(kind: shape.Type) -> tuple[shape.Type, str]:
    text = ""
    while isinstance(kind, shape.Metadata):
        text = text or (kind.extra_json_schema or {}).get("description", "")
        kind = kind.type
    return kind, text


def _table(kind: shape.Type) -> tuple[type | None, str]:
    """Return the table that a field contains, or None, and the path suffix for collections."""
    if isinstance(kind, shape.UnionType):
        return next((result for part in kind.types if (result := _table(part))[0]), (None, ""))
    if isinstance(kind, shape.ListType):
        return _table(kind.item_type)[0], "[]"
    if isinstance(kind, shape.DictType):
        return _table(kind.value_type)[0], ".NAME"
    return (kind.cls, "") if isinstance(kind, shape.StructType) else (None, "")


def _name(kind: shape.Type) -> str:
    if isinstance(kind, shape.Metadata):
        return _name(kind.type)
    if isinstance(kind, shape.UnionType):
        return " or ".join(_name(part) for part in kind.types)
    if isinstance(kind, shape.ListType):
        return f"list of {_name(kind.item_type)}"
    if isinstance(kind, shape.DictType):
        return f"by name: {_name(kind.value_type)}"
    names = {
        shape.BoolType: "true or false",
        shape.StrType: "text",
        shape.IntType: "whole number",
        shape.FloatType: "number",
        shape.NoneType: "null",
        shape.StructType: "table",
    }
    return names[type(kind)]


def table() -> str:
    """Return all fields as a Markdown table."""
    rows = ["| field | type | meaning |", "|---|---|---|"]
    rows += [f"| `{path}` | {kind} | {text} |" for path, kind, text in fields()]
    return "\n".join(rows) + "\n"


def document(text: str) -> str:
    """Return docs/PROFILING.md, given as `text`, with its table of fields generated again."""
    return text.partition(BEGIN)[0] + BEGIN + "\n\n" + table()
