"""What goes into a gallery, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.code import Code


@dataclass(frozen=True, eq=False)
class Item:
    """One picture to enrol."""

    label: str
    code: Code
    source: str = ""
    """Where the picture came from, for people."""
    digest: bytes | None = None
    """Of the picture's file: the same one under the same label is enrolled once."""


@dataclass(frozen=True)
class Stats:
    """A gallery in numbers."""

    path: str
    model_id: str
    bits: int
    items: int
    labels: int
    generation: int
    """Counts committed changes."""
    size_bytes: int
