"""Generate the example file and the configuration guide from the schema."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as shape

from edge_runtime.redaction import redact
from edge_runtime.settings.schema import BY_PARTS, RELOADABLE, Settings
from edge_runtime.system.printable import printable_json

_EXAMPLES: dict[str, Any] = {
    "mqtt.host": "broker.local",
    "server.url": "https://codes.example.com:8470",
    "webhook.url": "https://example.com/hook",
    "exec.command": ["/usr/bin/logger", "seen"],
}
"""Example values for keys without a default."""
NAMED = {
    "cameras": "One of several cameras, in place of [camera], with the same keys and a name of "
    "letters, digits, - and _. They share the network and the gallery and take turns.",
}
"""What tables with names of the user are for, where their type does not say it."""


@dataclass(frozen=True)
class Key:
    """One key of a table."""

    name: str
    kind: str
    """Type and range as readable text."""
    default: Any
    """None: the key is required."""
    text: str
    example: Any
    shape: shape.Type
    """Type and range as msgspec reads them."""


@dataclass(frozen=True)
class Table:
    """One table of the file."""

    name: str
    text: str
    optional: bool
    """Whether the feature is off unless the file has this table."""
    reloadable: bool
    keys: tuple[Key, ...]


def tables() -> Iterator[Table]:
    """Yield all tables in the order of the schema."""
    settings = shape.type_info(Settings)
    assert isinstance(settings, shape.StructType)
    for field in settings.fields:
        kind, name = field.type, field.name
        optional = isinstance(kind, (shape.UnionType, shape.DictType))
        if isinstance(kind, shape.DictType):
            kind, name = kind.value_type, f"{name}.NAME"
        if isinstance(kind, shape.UnionType):
            kind = next(part for part in kind.types if isinstance(part, shape.StructType))
        assert isinstance(kind, shape.StructType)
        yield Table(
            name,
            NAMED.get(field.name) or (kind.cls.__doc__ or "").strip(),
            optional,
            field.name in RELOADABLE | BY_PARTS,
            tuple(_key(name, key) for key in kind.fields),
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
    return Key(field.name, _kind(kind), default, text, example, kind)


def _kind(kind: shape.Type) -> str:
    while isinstance(kind, shape.Metadata):
        kind = kind.type
    if isinstance(kind, shape.LiteralType):
        return ", ".join(json.dumps(value) for value in kind.values)
    if isinstance(kind, (shape.IntType, shape.FloatType)):
        name = "whole number" if isinstance(kind, shape.IntType) else "number"
        lower = f"{kind.ge:g} to " if kind.ge is not None else ""
        lower = f"above {kind.gt:g}, up to " if kind.gt is not None else lower
        return f"{name}, {lower}{kind.le:,g}" if kind.le is not None else name
    if isinstance(kind, shape.ListType) and _kind(kind.item_type).startswith("number"):
        return f"list of {kind.min_length} numbers"
    names = {shape.BoolType: "true or false", shape.StrType: "text", shape.ListType: "list of text"}
    return names[type(kind)]


def to_toml(value: Any) -> str:
    """Return a plain value as TOML, which equals JSON for text, lists and numbers."""
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return printable_json(json.dumps(value, ensure_ascii=False))


def example() -> str:
    """Return a file with every key at its default and the optional tables commented out."""
    parts = ["# edge-runtime configuration. Every key is optional; these are the defaults."]
    for table in tables():
        lines = [*(f"# {line}" for line in textwrap.wrap(table.text, 96)), f"[{table.name}]"]
        for key in table.keys:
            lines += textwrap.wrap(f"{key.text}", 96, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"{key.name} = {to_toml(key.example)}")
        if table.optional:
            lines = [line if line.startswith("#") else f"#{line}" for line in lines]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def effective(settings: Settings) -> str:
    """Return all values as a file, without secrets.

    They are in files of their own, and those in addresses are hidden.
    """
    parts = []
    tables = msgspec.to_builtins(settings)
    for group in ("cameras", "regions"):
        tables |= {f"{group}.{name}": values for name, values in tables.pop(group).items()}
    if settings.cameras:
        del tables["camera"]
    for name, values in tables.items():
        if values is not None:
            lines = [f"{key} = {to_toml(_shown(value))}" for key, value in values.items()]
            parts.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(parts) + "\n"


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(part) for part in value]
    return redact(value) if isinstance(value, str) else value


def document() -> str:
    """Return docs/CONFIGURATION.md."""
    parts = [
        "# Configuration",
        "The daemon reads one TOML file: `edge-runtime run --config FILE`. Every key is optional "
        "unless its table says otherwise.",
        "```sh\nedge-runtime config example --out edge.toml   # write every key with its default\n"
        "edge-runtime config check edge.toml           # find errors\n"
        "edge-runtime config show edge.toml            # print all values, including defaults\n```",
        "## How the file is read",
        "- Options on the command line override the file.\n"
        "- Relative paths are relative to the file's folder.\n"
        "- An error is one line that names the file, the line and the key; the exit code is 3. "
        "The daemon starts with the whole configuration or not at all.",
        "## Secrets",
        "Passwords and tokens belong in files of their own, which `password_file` and "
        "`token_file` name: only the user of the daemon needs to read them. The user and the "
        "password of a camera may also be in its URL. They, and everything else in an address "
        "that could be a secret, are replaced by `***` wherever the address is shown: in logs, "
        "errors, the status, reports, galleries, exports, `config show` and `ps`.",
        "## Changing it while the daemon runs",
        "Send SIGHUP (`systemctl reload edge-runtime`) to read the file again. Changes in the "
        "tables marked *Reloadable* take effect between two frames. The log names the changed "
        "tables that need a restart. If the file has an error, nothing changes. The "
        "page can change "
        "most values, too, and keeps comments and order "
        "([how](DAEMON.md#change-settings-on-the-page)).",
        "## Keys",
        "This page is generated by `python -m edge_runtime.settings` from "
        "`edge_runtime/settings/schema.py`; a test compares them.",
    ]
    for table in tables():
        notes = [table.text, "*Reloadable.*" if table.reloadable else "Needs a restart."]
        head = f"### [{table.name}]\n\n{' '.join(' '.join(notes).split())}\n"
        rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key in table.keys:
            default = "required" if key.default is None else f"`{to_toml(key.default)}`"
            rows.append(f"| `{key.name}` | {key.kind} | {default} | {key.text} |")
        parts.append(head + "\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"
