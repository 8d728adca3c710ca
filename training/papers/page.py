"""Generate the text of docs/results/PAPERS.md from the result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.papers.rows import Row, Table, read_tables
from training.reports.tables import markdown, number

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "PAPERS.md"


def document(tables: Mapping[str, Table] | None = None) -> str:
    """Generate the text of the page from `tables`, name to table; by default the committed ones."""
    found = read_tables() if tables is None else tables
    parts = [
        "# The papers",
        "Generated from `training/results/papers/*.json` by `python -m training papers page`; a"
        " test checks that the page is up to date. A figure that was measured here is the mean of"
        " three seeds with their standard deviation, unless its row says otherwise.",
    ]
    for name, table in found.items():
        parts += _section(name, table)
    return "\n\n".join(parts) + "\n"


def _section(name: str, table: Table) -> list[str]:
    parts = [f"## {name}", f"`{table.command}`", table.data]
    parts += [f"- {note}" for note in table.notes]
    parts.append(markdown(["system", "setting", "measure", "published", "here"], _rows(table.rows)))
    return parts


def _rows(rows: Sequence[Row]) -> list[list[str]]:
    return [[row.system, row.setting, row.measure, published(row), ours(row)] for row in rows]


def published(row: Row) -> str:
    """Format the published figure of a row."""
    return "-" if row.published is None else number(row.published)


def ours(row: Row) -> str:
    """Format our figure of a row: mean and spread."""
    if row.mean is None:
        return "missing"
    return number(row.mean) if row.spread is None else f"{row.mean:.1f} ± {row.spread:.1f}"
