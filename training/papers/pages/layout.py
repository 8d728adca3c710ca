"""Lay out the rows of a result file as tables that can be read.

A line is a system in a setting, with all its measures. Sets have tables of their own. Where all
systems have the same settings, these are columns. What a system takes on emulated boards and on the
machine that made the table follows in tables of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from training.papers.pages.wording import SETS, cell, header, named, once, short
from training.papers.rows import Extra, Row
from training.reports.tables import markdown

FEW = 2
"""Measures of at most this many lines share a table."""
_BOARD = re.compile(
    r"(?:(fp32|int8)_)?(cortex_a\d+)_(?:(\w+?)_)?(m_instructions|estimated_ms|published_ms)$"
)
_HERE = re.compile(r"(?:(fp32|int8)_)?x86_64_(\w+)$")
_OTHER = re.compile(r"(fp32|int8)_(\w+)$")
_ENGINES = {
    "": "research program",
    "edge_runtime": "edge-runtime",
    "onnx_runtime": "ONNX Runtime",
    "ncnn": "ncnn",
}
_WAYS = {"m_instructions": "instructions (million)", "estimated_ms": "estimated (ms)",
         "published_ms": "published (ms)"}  # fmt: skip
_PROGRAMS = {
    "program_cpu_ms": "research program, CPU time (ms)",
    "onnxruntime_cpu_ms": "ONNX Runtime, CPU time (ms)",
}
_MARKS = "¹²³⁴"


@dataclass
class Line:
    """A system in a setting of one set."""

    system: str
    place: str
    """The set, or ""."""
    setting: str
    rows: dict[str, Row] = field(default_factory=dict)
    """Measure -> row."""
    extra: dict[str, Extra] = field(default_factory=dict)


def tables(rows: Sequence[Row]) -> list[str]:
    """Return the tables of a section, each a piece of markdown, with captions between them."""
    lines = _lines(rows)
    places = list(dict.fromkeys(line.place for line in lines))
    parts: list[str] = []
    for place in places:
        if len(places) > 1:
            parts.append(f"**{place or 'For every set'}**")
        parts += _of_place([line for line in lines if line.place == place])
    parts += [*_others(rows), *_boards(rows), *_here(rows)]
    return _with_reasons_below(parts, rows)


def _with_reasons_below(parts: list[str], rows: Sequence[Row]) -> list[str]:
    """Replace a reason for few seeds that stands in many rows by a mark, and explain it below."""
    counts = Counter(row.one_seed_reason for row in rows if row.one_seed_reason)
    often = [reason for reason, count in counts.items() if count > FEW]
    for mark, reason in zip(_MARKS, often, strict=False):
        parts = [part.replace(f" ({reason})", mark) for part in parts]
        parts.append(f"{mark} A single value; {reason[:1].lower()}{reason[1:].rstrip('.')}.")
    return parts


def _lines(rows: Sequence[Row]) -> list[Line]:
    found: dict[tuple[str, str, str], Line] = {}
    for row in rows:
        words = row.setting.split(", ")
        place = next((word for word in words if word in SETS), "")
        setting = named(", ".join(word for word in words if word != place))
        system = f"{row.system} ({row.source})"
        line = found.setdefault((system, place, setting), Line(system, place, setting))
        line.rows[row.measure] = row
        for key, value in row.extra.items():
            if not (_BOARD.match(key) or _HERE.match(key) or _OTHER.match(key)):
                line.extra[key] = value
    return list(found.values())


def _of_place(lines: Sequence[Line]) -> list[str]:
    groups = _groups(lines)
    small = [line for group in groups if len(group) <= FEW for line in group]
    if len({tuple(line.rows) for line in small}) < 2:
        small = []
    parts: list[str] = []
    for group in groups:
        if group[0] not in small:
            parts += _grid(group) if _is_grid(group) else [_plain(group, tuple(group[0].rows))]
    return parts + ([_mixed(small)] if small else [])


def _groups(lines: Sequence[Line]) -> list[list[Line]]:
    """Return lines that share their measures and at least one other figure, if they have any."""
    found: list[tuple[set[str], list[Line]]] = []
    for line in lines:
        for keys, group in found:
            if tuple(group[0].rows) == tuple(line.rows) and (
                keys & set(line.extra) or not (keys or line.extra)
            ):
                keys |= set(line.extra)
                group.append(line)
                break
        else:
            found.append((set(line.extra), [line]))
    systems = list(dict.fromkeys(line.system for line in lines))
    return [sorted(group, key=lambda line: systems.index(line.system)) for _, group in found]


def _is_grid(group: Sequence[Line]) -> bool:
    """Return whether every system has one measure in the same two or more settings."""
    settings = [line.setting for line in group if line.system == group[0].system]
    systems = list(dict.fromkeys(line.system for line in group))
    wanted = [(system, setting) for system in systems for setting in settings]
    one = all(len(line.rows) == 1 for line in group)
    found = sorted((line.system, line.setting) for line in group)
    return one and len(settings) > 1 < len(systems) and found == sorted(wanted)


def _grid(group: Sequence[Line]) -> list[str]:
    """Return a table with settings as columns, and one more for each figure that differs."""
    systems = list(dict.fromkeys(line.system for line in group))
    settings = list(dict.fromkeys(line.setting for line in group))
    at = {(line.system, line.setting): line for line in group}
    measure = next(iter(group[0].rows))

    def values(key: str, system: str) -> list[Extra | None]:
        return [at[system, setting].extra.get(key) for setting in settings]

    keys = list(dict.fromkeys(key for line in group for key in line.extra))
    fixed = [key for key in keys if all(len(set(values(key, each))) == 1 for each in systems)]
    free = [key for key in keys if key not in fixed]
    alike = [key for key in free if len({tuple(values(key, each)) for each in systems}) == 1]
    head = ["system", *(f"{each}, {measure}" for each in settings), *map(header, fixed)]
    body = [
        [system, *(ours(at[system, each].rows[measure]) for each in settings),
         *(_shown(at[system, settings[0]].extra.get(key)) for key in fixed)]
        for system in systems
    ]  # fmt: skip
    for key in alike:
        body.append([header(key), *map(_shown, values(key, systems[0])), *([""] * len(fixed))])
    parts = [_markdown(head, body)]
    for key in free:
        if key not in alike:
            head = ["system", *(f"{each}, {header(key)}" for each in settings)]
            body = [[system, *map(_shown, values(key, system))] for system in systems]
            parts.append(_markdown(head, body))
    if said := [line for line in group if line.rows[measure].published is not None]:
        parts += ["Beside the published figures:", _plain(said, (measure,), extras=False)]
    return parts


def _plain(group: Sequence[Line], measures: Sequence[str], extras: bool = True) -> str:
    """Return a table with a line for each system and setting."""
    head, columns = ["system"], [once(line.system for line in group)]

    def add(title: str, values: Iterable[str]) -> None:
        column = list(values)
        if any(column):
            head.append(title)
            columns.append(column)

    add("setting", (line.setting for line in group))
    for measure in measures:
        add(f"published {measure}", (published(line.rows[measure]) for line in group))
        add(measure, (ours(line.rows[measure]) for line in group))
    if extras:
        for key in dict.fromkeys(key for line in group for key in line.extra):
            if header(key) not in head:
                add(header(key), (_shown(line.extra.get(key)) for line in group))
    return _markdown(head, zip(*columns, strict=True))


def _mixed(lines: Sequence[Line]) -> str:
    """Return one table of lines with different measures."""
    pairs = [(line, row) for line in lines for row in line.rows.values()]
    body = list(zip(
        once(line.system for line, _ in pairs),
        (line.setting for line, _ in pairs),
        (row.measure for _, row in pairs),
        (published(row) for _, row in pairs),
        (ours(row) for _, row in pairs),
        strict=True,
    ))  # fmt: skip
    return _markdown(["system", "setting", "measure", "published", "here"], body)


Found = dict[tuple[str, ...], dict[str, Extra]]


def _others(rows: Sequence[Row]) -> list[str]:
    """Return the table of the sizes of fp32 and int8 that stand in the rows of another system."""

    def take(key: str) -> tuple[str, tuple[str, ...], str] | None:
        found = _OTHER.match(key)
        if not found or _BOARD.match(key) or _HERE.match(key):
            return None
        return found[1], (), header(found[2])

    return _own("The same network as fp32 and int8:", rows, (), take)


def _boards(rows: Sequence[Row]) -> list[str]:
    """Return the table of counts and estimates on emulated boards."""

    def take(key: str) -> tuple[str, tuple[str, ...], str] | None:
        found = _BOARD.match(key)
        if not found:
            return None
        way, board, engine, what = found.groups()
        return way or "", (_ENGINES.get(engine or "", engine),), f"{named(board)}, {_WAYS[what]}"

    return _own("On emulated boards:", rows, ("engine",), take)


def _here(rows: Sequence[Row]) -> list[str]:
    """Return the table of times on the machine that made the table."""

    def take(key: str) -> tuple[str, tuple[str, ...], str] | None:
        found = _HERE.match(key)
        return (found[1] or "", (), _PROGRAMS.get(found[2], header(found[2]))) if found else None

    return _own("On the machine that made the table (x86-64):", rows, (), take)


def _own(
    caption: str,
    rows: Sequence[Row],
    more: tuple[str, ...],
    take: Callable[[str], tuple[str, tuple[str, ...], str] | None],
) -> list[str]:
    """Return `caption` and a table of the figures that `take` takes; nothing without any.

    `take` returns for a key: the way to run the network if it is another one, the cells before
    the figures, and the header.
    """
    found: Found = {}
    for row in rows:
        for key, value in row.extra.items():
            if taken := take(key):
                way, cells, title = taken
                setting = row.setting.split(",")[0] if way else row.setting
                found.setdefault((way or row.system, named(setting), *cells), {})[title] = value
    if not found:
        return []
    titles = sorted({title for figures in found.values() for title in figures})
    systems = once(key[0] for key in found)
    body = [
        [system, *key[1:], *(_shown(figures.get(title)) for title in titles)]
        for system, (key, figures) in zip(systems, found.items(), strict=True)
    ]
    return [caption, _markdown(["system", "setting", *more, *titles], body)]


def published(row: Row) -> str:
    """Format the published figure of a row; empty without one."""
    return "" if row.published is None else short(row.published)


def ours(row: Row) -> str:
    """Format our figure of a row: the mean, the spread, and why there are few seeds."""
    if row.mean is None:
        return f"missing: {row.missing}"
    text = short(row.mean) if row.spread is None else f"{row.mean:.1f} ± {row.spread:.1f}"
    return f"{text} ({row.one_seed_reason})" if row.one_seed_reason else text


def _shown(value: Extra | None) -> str:
    return "" if value is None else short(value)


def _markdown(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    return markdown(list(map(cell, head)), [list(map(cell, line)) for line in body])
