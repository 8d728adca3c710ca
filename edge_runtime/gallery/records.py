"""What goes into a gallery, and what it says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from edge_runtime.code import Code
from edge_runtime.errors import InputError
from edge_runtime.position import Position

MAX_THUMBNAIL_BYTES = 65_536


@dataclass(frozen=True, eq=False)
class Item:
    """One picture to enrol."""

    label: str
    code: Code
    source: str = ""
    """Where the picture came from, for people."""
    digest: bytes | None = None
    """Of the picture's file: the same one under the same label is enrolled once."""
    position: Position | None = None
    """Where it was taken."""


@dataclass(frozen=True)
class Note:
    """What is kept with a label beside its items."""

    payload: str = ""
    """JSON text, or empty: whatever the application wants to find again with a recognition."""
    thumbnail: bytes = b""
    """A small JPEG, or empty."""

    def checked(self, label: str) -> Note:
        """This note; raises `InputError` if it is no JSON, no JPEG, or too large."""
        if self.payload:
            try:
                json.loads(self.payload)
                self.payload.encode()
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"the payload is no JSON: {error}", where=label, remedy="quote it as JSON"
                ) from error
        if self.thumbnail and self.thumbnail[:3] != b"\xff\xd8\xff":
            raise InputError("the thumbnail is no JPEG", where=label, remedy="encode it as JPEG")
        if len(self.thumbnail) > MAX_THUMBNAIL_BYTES:
            raise InputError(
                f"a thumbnail of {len(self.thumbnail)} bytes",
                where=label,
                remedy=f"make it at most {MAX_THUMBNAIL_BYTES}",
            )
        return self


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
