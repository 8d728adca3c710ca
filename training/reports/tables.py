"""Format the markdown of the generated documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def number(value: float) -> str:
    """Format a percentage with one decimal."""
    return f"{value:.1f}"


def markdown(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Format a markdown table."""
    lines = ["| " + " | ".join(map(str, head)) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def commands(listed: Mapping[str, str] | None) -> str:
    """Format the table of result files and the commands that make them."""
    rows = [[f"`{name}`", f"`{command}`"] for name, command in (listed or {}).items()]
    return markdown(["result", "made by"], rows)
