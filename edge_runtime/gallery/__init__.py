"""The gallery: codes with labels in an SQLite database, and the packed codes that are searched."""

import os
from pathlib import Path

from edge_runtime.gallery.records import Counts, LabelData, LabeledCode, Stats, check_label
from edge_runtime.gallery.store import Gallery

__all__ = [
    "Counts",
    "Gallery",
    "LabelData",
    "LabeledCode",
    "Stats",
    "check_label",
    "default_path",
]


def default_path() -> Path:
    """Return $EDGE_RUNTIME_GALLERY, or gallery.sqlite in the user's data folder."""
    named = os.environ.get("EDGE_RUNTIME_GALLERY")
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    folder = Path(data) if data else Path.home() / ".local" / "share"
    return folder / "edge-runtime" / "gallery.sqlite"
