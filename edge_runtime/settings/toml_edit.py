"""Change keys of a TOML text and keep all else: comments, order, and how values are written.

tomlkit does the same for every TOML file, but takes more time to import and more memory than a
board should spend on it. This module changes files of tables and keys. It parses the result again
and compares the values with those wanted: a text that is written in an unusual way is refused,
never damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from edge_runtime.errors import ConfigError
from edge_runtime.settings.describe import to_toml
from edge_runtime.settings.read import LITERAL

Path = tuple[str, ...]
"""A key or a table: ("cameras", "door", "fps")."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class _Statement:
    """An assignment or the head of a table. The numbers are places in the text."""

    path: Path
    table: Path
    """The table that an assignment belongs to."""
    is_head: bool
    start: int
    end: int
    """Behind its line ending."""
    value: slice
    """The value of an assignment."""


def edited(
    text: str,
    changes: Mapping[Path, Any],
    *,
    renames: Iterable[tuple[Path, Path]] = (),
    where: object = "configuration",
) -> str:
    """Return the valid TOML `text` with other values. None removes a key, or a table with its keys.

    `renames`: tables that get another name first, in place; one that is missing is added.

    Raises `ConfigError` that begins with `where` if the text is written in a way that this module
    cannot change.
    """
    new, wanted = text, tomllib.loads(text)
    try:
        for before, after in renames:
            new, wanted = _renamed(new, before, after), _moved(wanted, before, after)
        for path, value in changes.items():
            new = _without(new, path) if value is None else _with(new, path, value)
            wanted = _changed(wanted, path, value)
        if _pruned(tomllib.loads(new)) == _pruned(wanted):
            return new
    except (tomllib.TOMLDecodeError, _UnusualError):
        pass
    raise ConfigError(
        "this file is written in a way that only an editor can change",
        where=where,
        remedy="write it as [TABLE] and KEY = VALUE, one per line",
    )


class _UnusualError(Exception):
    """The text has no such place to change."""


def _with(text: str, path: Path, value: Any) -> str:
    written, newline = to_toml(value), "\r\n" if "\r\n" in text else "\n"
    statements = list(_statements(text))
    siblings = [each for each in statements if not each.is_head and each.path[:-1] == path[:-1]]
    if same := next((each for each in siblings if each.path == path), None):
        return text[: same.value.start] + written + text[same.value.stop :]
    heads = [each for each in statements if each.is_head and each.path == path[:-1]]
    if siblings or heads:
        after = (siblings or heads)[-1]
        line = text[after.start : after.end]
        indent = line[: len(line) - len(line.lstrip())] if siblings else ""
        table = after.table if siblings else after.path
        added = f"{indent}{_key(path[len(table) :])} = {written}{newline}"
        before = text[: after.end]
        return before + ("" if before.endswith("\n") else newline) + added + text[after.end :]
    gap = newline if text.strip() else ""
    end = "" if not text or text.endswith("\n") else newline
    return f"{text}{end}{gap}[{_key(path[:-1])}]{newline}{path[-1]} = {written}{newline}"


def _renamed(text: str, before: Path, after: Path) -> str:
    """Give the table `before` another name wherever it is written."""
    newline, found = "\r\n" if "\r\n" in text else "\n", False
    for each in reversed(list(_statements(text))):
        if each.path[: len(before)] != before:
            continue
        found = True
        if each.table[: len(before)] == before and not each.is_head:  # its head says the name
            continue
        path = after + each.path[len(before) :]
        line = text[each.start : each.end]
        if each.is_head:
            masked = LITERAL.sub(_masked, line)
            start, stop = each.start + masked.index("[") + 1, each.start + masked.index("]")
            text = text[:start] + _key(path) + text[stop:]
            continue
        if each.table != path[: len(each.table)]:
            raise _UnusualError
        start = each.start + len(line) - len(line.lstrip())
        stop = text.rindex("=", start, each.value.start)
        text = f"{text[:start]}{_key(path[len(each.table) :])} {text[stop:]}"
    if found:
        return text
    end = "" if not text or text.endswith("\n") else newline
    return f"{text}{end}{newline if text.strip() else ''}[{_key(after)}]{newline}"


def _without(text: str, path: Path) -> str:
    statements = list(_statements(text))
    cuts: list[tuple[int, int]] = []
    for number, each in enumerate(statements):
        if each.path[: len(path)] != path or (cuts and each.start < cuts[-1][1]):
            continue
        end = each.end
        for later in statements[number + 1 :] if each.is_head else ():
            if later.is_head:
                break
            end = later.end  # what stands between the keys of a table belongs to it
        cuts.append((each.start, end))
    for start, end in reversed(cuts):
        head, tail = text[:start], text[end:]
        if (not tail or tail.startswith(("\n", "\r\n"))) and head.endswith(("\n\n", "\n\r\n")):
            head = head.removesuffix("\n").removesuffix("\r")
        text = head + tail
    return text


def _statements(text: str) -> Iterator[_Statement]:
    masked = LITERAL.sub(_masked, text)
    table: Path = ()
    at = 0
    while at < len(text):
        end = _end_of_statement(masked, at)
        stop = at + len(masked[at:end].rstrip())
        content = masked[at:stop].strip()
        if content.startswith("["):
            table = _walk(tomllib.loads(text[at:stop]))
            yield _Statement(table, table, True, at, end, slice(stop, stop))
        elif content:
            equals = masked.find("=", at, stop)
            if equals < 0:
                raise _UnusualError
            start = stop - len(masked[equals + 1 : stop].lstrip())
            path = table + _walk(tomllib.loads(f"{text[at:equals]} = {{}}"))
            yield _Statement(path, table, False, at, end, slice(start, stop))
        at = end


def _masked(literal: re.Match[str]) -> str:
    """Return what stands for a text or a comment while the structure is read: the same length."""
    return (" " if literal[0][0] == "#" else "x") * len(literal[0])


def _end_of_statement(masked: str, at: int) -> int:
    depth = 0
    while at < len(masked):
        end = masked.find("\n", at) + 1 or len(masked)
        line = masked[at:end]
        depth += sum(map(line.count, "[{")) - sum(map(line.count, "]}"))
        at = end
        if depth <= 0:
            break
    return at


def _walk(tables: Any) -> Path:
    """Return the path of the only key in nested tables."""
    path: Path = ()
    while tables:
        if isinstance(tables, list):
            tables = tables[0]
            continue
        ((name, tables),) = tables.items()
        path += (name,)
    return path


def _key(path: Path) -> str:
    return ".".join(
        name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in path
    )


def _changed(tables: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    tables = deepcopy(tables)
    place = tables
    for name in path[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise _UnusualError
    if value is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return tables


def _moved(tables: dict[str, Any], before: Path, after: Path) -> dict[str, Any]:
    place: Any = tables
    for name in before:
        place = place.get(name, {})
        if not isinstance(place, dict):
            raise _UnusualError
    return _changed(_changed(tables, before, None), after, deepcopy(place))


def _pruned(value: Any) -> Any:
    """Return nested tables without empty ones, which say nothing."""
    if not isinstance(value, dict):
        return value
    parts = {name: _pruned(part) for name, part in value.items()}
    return {name: part for name, part in parts.items() if part != {}}
