"""The gallery: SQLite as the truth, packed codes derived from it for the lookup."""

import os
from pathlib import Path

from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.records import Item, Note, Stats
from edge_runtime.gallery.store import Gallery

__all__ = ["Gallery", "Item", "Note", "Stats", "check_label", "default_path"]


def default_path() -> Path:
    """$EDGE_RUNTIME_GALLERY, else gallery.sqlite in the user's data folder."""
    named = os.environ.get("EDGE_RUNTIME_GALLERY")
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    folder = Path(data) if data else Path.home() / ".local" / "share"
    return folder / "edge-runtime" / "gallery.sqlite"
