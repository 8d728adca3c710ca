"""Generate the text of docs/results/PAPERS.md from the result files and the registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.papers.registry.hashing import HASHING
from training.papers.registry.named import Named
from training.papers.registry.networks import NETWORKS
from training.papers.registry.search import SEARCH
from training.papers.rows import Row, Table, read_tables
from training.reports.tables import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "PAPERS.md"
TITLES = {
    "table3": "Table 3 of the seed paper",
    "cifar10": "CIFAR-10: supervised methods",
    "cifar10_unlabelled": "CIFAR-10: methods without labels",
    "handmade": "Hand-made systems",
    "unlabelled": "A code for photos without labels",
    "quantized_cnn": "Quantized CNN",
    "low_rank_pruned": "Low rank and pruned networks",
    "transmission": "Transmission",
    "clips": "Clips, sound and heading",
}
"""Result file -> title of its section, in the order of the page."""
PLOTS = {"transmission": ("images/transmission.svg", "bytes per query against P@1")}
"""Result file -> the plot that its command writes beside it, from the page, and what it shows."""
SECTIONS = (
    ("Hashing and search", HASHING),
    ("Mobile visual search", SEARCH),
    ("Networks and their optimization", NETWORKS),
)


def document(tables: Mapping[str, Table] | None = None) -> str:
    """Generate the text of the page from `tables`, name to table; by default the committed ones."""
    found = read_tables() if tables is None else tables
    parts = [
        "# The papers",
        "Generated from `training/results/papers/*.json` by `python -m training papers page`; a"
        " test checks that the page is up to date. The papers are Qi, Liu & Liu, *An efficient deep"
        " learning hashing neural network for mobile visual search* (the seed paper) and Liu, Ma,"
        " Qi, Zhao & Chen, *Deep learning hashing for mobile visual search* (2017, the survey)."
        " `make papers` repeats every table.",
        "A figure of this project is the mean of three seeds ± their standard deviation, or its row"
        " says why there are fewer. A published figure was made on other data, networks or splits,"
        " so the two do not compare directly; each table says what differs. A published figure that"
        " could not be checked against the paper or its authors' code is left out.",
        "## Every system that the papers name",
    ]
    for title, systems in SECTIONS:
        rows = [[each.name, each.section, where(each, found)] for each in systems]
        parts += [f"### {title}", markdown(["system", "named in", "here"], rows)]
    for name in sorted(found, key=lambda name: [*TITLES, name].index(name)):
        parts += _section(name, found[name])
    return "\n\n".join(parts) + "\n"


def where(system: Named, tables: Mapping[str, Table]) -> str:
    """State where a system runs, or why it does not."""
    if system.missing:
        return f"**missing**: {system.missing}"
    if not system.table:
        return system.elsewhere
    link = f"[{title_of(system.table)}](#{anchor(title_of(system.table))})"
    table = tables.get(system.table)
    if table is None:
        return f"**not finished**: `python -m training papers {system.table.replace('_', '-')}`"
    if not rows_of(system, table):
        return f"**missing**: no row in {link}"
    if not any(row.values for row in rows_of(system, table)):
        return f"**not finished**: {link}"
    return link


def rows_of(system: Named, table: Table) -> list[Row]:
    """Return the rows of `table` that belong to a system."""
    return [
        row
        for row in table.rows
        if not system.rows or any(row.system.startswith(start) for start in system.rows)
    ]


def title_of(name: str) -> str:
    """Return the title of the section of a result file."""
    return TITLES.get(name, name.replace("_", " "))


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    kept = "".join(each for each in title.lower() if each.isalnum() or each in " -")
    return kept.replace(" ", "-")


def _section(name: str, table: Table) -> list[str]:
    parts = [f"## {title_of(name)}", f"    {table.command}", _sentence(table.data)]
    if table.notes:
        parts.append("\n".join(f"- {_sentence(note)}" for note in table.notes))
    if name in PLOTS:
        place, shows = PLOTS[name]
        parts.append(f"![{shows}]({place})")
    parts.append(_table(table.rows))
    return [*parts, *_differences(table.rows)]


def _table(rows: Sequence[Row]) -> str:
    """Format the rows; columns that are empty everywhere are left out."""
    extras = list(dict.fromkeys(key for row in rows for key in row.extra))
    head = ["system", "setting", "measure", "published", "here", *extras]
    lines = [
        [f"{row.system} ({row.source})", row.setting, row.measure, published(row), ours(row),
         *(_short(row.extra.get(key, "")) for key in extras)]
        for row in rows
    ]  # fmt: skip
    used = [place for place in range(len(head)) if place == 4 or any(line[place] for line in lines)]
    return markdown(
        [head[place].replace("_", " ") for place in used],
        [[_cell(line[place]) for place in used] for line in lines],
    )


def _differences(rows: Sequence[Row]) -> list[str]:
    """State on what the published figures were measured and what differs, once per sentence."""
    parts = []
    for title, attribute in (("Published on", "published_on"), ("What differs", "differs")):
        said: dict[str, list[str]] = {}
        for row in rows:
            if text := getattr(row, attribute):
                said.setdefault(text, []).append(row.system)
        common = Counter({text: len(systems) for text, systems in said.items()}).most_common()
        lines = [
            f"- {', '.join(dict.fromkeys(said[text]))}: {_sentence(text)}" for text, _ in common
        ]
        if lines:
            parts += [f"{title}:", "\n".join(lines)]
    return parts


def published(row: Row) -> str:
    """Format the published figure of a row; empty without one."""
    return "" if row.published is None else _short(row.published)


def ours(row: Row) -> str:
    """Format our figure of a row: the mean, the spread, and why there are few seeds."""
    if row.mean is None:
        return f"missing: {row.missing}"
    text = _short(row.mean) if row.spread is None else f"{row.mean:.1f} ± {row.spread:.1f}"
    return f"{text} ({row.one_seed_reason})" if row.one_seed_reason else text


def _short(value: str | int | float) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _sentence(text: str) -> str:
    whole = text[:1].upper() + text[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."
