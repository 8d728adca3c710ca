"""The gallery: codes with labels in an SQLite database, and the packed codes that are searched."""

import os
from pathlib import Path

from edge_runtime.errors import GalleryNotFoundError
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
    """Return $EDGE_RUNTIME_GALLERY, or where that leads, or gallery.sqlite in the data folder.

    Raises `GalleryNotFoundError` if the user has no home folder.
    """
    named = os.environ.get("EDGE_RUNTIME_GALLERY")
    if named:
        # A release leads to the gallery of its model by a link; other files lie beside the gallery.
        path = Path(named)
        return path.parent / path.readlink() if path.is_symlink() else path
    data = os.environ.get("XDG_DATA_HOME")
    try:
        folder = Path(data) if data else Path.home() / ".local" / "share"
    except RuntimeError as error:  # neither $HOME nor an entry in the user database
        raise GalleryNotFoundError(
            "no gallery is named, and this user has no home folder",
            remedy="name one with --gallery or EDGE_RUNTIME_GALLERY",
        ) from error
    return folder / "edge-runtime" / "gallery.sqlite"
