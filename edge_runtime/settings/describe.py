"""The configuration described, from its schema: an example file, and the page for users."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as shape

from edge_runtime.settings.schema import RELOADABLE, Settings

_EXAMPLES: dict[str, Any] = {
    "mqtt.host": "broker.local",
    "webhook.url": "https://example.com/hook",
    "exec.command": ["/usr/bin/logger", "seen"],
}
"""Values for keys that have no default."""


@dataclass(frozen=True)
class Key:
    """One key of a table."""

    name: str
    kind: str
    """Type and bounds, for people."""
    default: Any
    """None: it must be set."""
    text: str
    example: Any


@dataclass(frozen=True)
class Table:
    """One table of the file."""

    name: str
    text: str
    optional: bool
    """It does nothing unless it is there."""
    reloadable: bool
    keys: tuple[Key, ...]


def tables() -> Iterator[Table]:
    """All tables, in the order of the schema."""
    settings = shape.type_info(Settings)
    assert isinstance(settings, shape.StructType)
    for field in settings.fields:
        kind = field.type
        optional = isinstance(kind, shape.UnionType)
        if isinstance(kind, shape.UnionType):
            kind = next(part for part in kind.types if isinstance(part, shape.StructType))
        assert isinstance(kind, shape.StructType)
        yield Table(
            field.name,
            (kind.cls.__doc__ or "").strip(),
            optional,
            field.name in RELOADABLE,
            tuple(_key(field.name, key) for key in kind.fields),
        )


def _key(table: str, field: shape.Field) -> Key:
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    if default is msgspec.NODEFAULT:
        default = None
    example = _EXAMPLES.get(f"{table}.{field.name}", default)
    kind, text = field.type, ""
    while isinstance(kind, shape.Metadata):
        text = text or (kind.extra_json_schema or {}).get("description", "")
        kind = kind.type
    return Key(field.name, _kind(kind), default, text, example)


def _kind(kind: shape.Type) -> str:
    while isinstance(kind, shape.Metadata):
        kind = kind.type
    if isinstance(kind, shape.LiteralType):
        return ", ".join(json.dumps(value) for value in kind.values)
    if isinstance(kind, (shape.IntType, shape.FloatType)):
        name = "whole number" if isinstance(kind, shape.IntType) else "number"
        lower = f"{kind.ge:g} to " if kind.ge is not None else ""
        lower = f"above {kind.gt:g}, to " if kind.gt is not None else lower
        return f"{name}, {lower}{kind.le:,g}" if kind.le is not None else name
    names = {shape.BoolType: "true or false", shape.StrType: "text", shape.ListType: "list of text"}
    return names[type(kind)]


def to_toml(value: Any) -> str:
    """A plain value as TOML (for text, lists and numbers that is JSON)."""
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def example() -> str:
    """A whole file with every key at its default, and the optional tables commented out."""
    parts = ["# edge-runtime configuration. Every key may be left out; these are the defaults."]
    for table in tables():
        lines = [f"# {table.text}", f"[{table.name}]"]
        for key in table.keys:
            lines += textwrap.wrap(f"{key.text}", 96, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"{key.name} = {to_toml(key.example)}")
        if table.optional:
            lines = [line if line.startswith("#") else f"#{line}" for line in lines]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def shown(settings: Settings) -> str:
    """The values in force, as a file; secrets stay in the files that hold them."""
    parts = []
    for name, values in msgspec.to_builtins(settings).items():
        if values is not None:
            lines = [f"{key} = {to_toml(value)}" for key, value in values.items()]
            parts.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(parts) + "\n"


def document() -> str:
    """docs/CONFIGURATION.md."""
    parts = [
        "# Configuration",
        "Made by `python -m edge_runtime.settings` from `edge_runtime/settings/schema.py`; a "
        "test compares.",
        "`edge-runtime run --config FILE` reads one TOML file. Options on the command line win "
        "over it. Relative paths are seen from the file's folder. A fault is one line with the "
        "file, the line and the key, and exit code 3; nothing starts half-configured.",
        "```sh\nedge-runtime config example > edge.toml   # every key with its default\n"
        "edge-runtime config check edge.toml       # is it right?\n"
        "edge-runtime config show edge.toml        # what is in force, defaults included\n```",
        "SIGHUP (`systemctl reload edge-runtime`) reads the file again. What can be reloaded comes "
        "into force between two frames; of what cannot, the log says so. A file with a fault "
        "changes nothing.",
    ]
    for table in tables():
        notes = [table.text, "Reloadable." if table.reloadable else "Needs a restart."]
        head = f"## [{table.name}]\n\n{' '.join(notes)}\n"
        rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key in table.keys:
            default = "must be set" if key.default is None else f"`{to_toml(key.default)}`"
            rows.append(f"| `{key.name}` | {key.kind} | {default} | {key.text} |")
        parts.append(head + "\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"
