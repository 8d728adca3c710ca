"""The readers that `make fuzz` tries."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import http, imports, models, photos, versions
from tests.fuzz.reader import Reader

READERS: dict[str, Callable[[], Reader]] = {
    "http": http.reader,
    "imports": imports.reader,
    "model": models.reader,
    "photo": photos.reader,
    "versions": versions.reader,
}
"""Name to the function that returns the reader, which may import what it needs."""
