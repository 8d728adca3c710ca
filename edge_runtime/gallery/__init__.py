"""The gallery: SQLite as the truth, packed codes derived from it for the lookup."""

from edge_runtime.gallery.labels import check_label
from edge_runtime.gallery.store import Gallery, Item, Stats, default_path

__all__ = ["Gallery", "Item", "Stats", "check_label", "default_path"]
