"""The values that go into a gallery and come out of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from edge_runtime.code import Code
from edge_runtime.errors import InputError
from edge_runtime.position import Position

MAX_THUMBNAIL_BYTES = 65_536


@dataclass(frozen=True, eq=False)
class LabeledCode:
    """One code to enroll: one view of a picture, with the label of the picture."""

    label: str
    code: Code
    source: str = ""
    """Where the picture came from, in human-readable form."""
    digest: bytes | None = None
    """Identifies the view of the picture (see `view_digest`). A label stores each digest once."""
    position: Position | None = None
    """Where the picture was taken."""


@dataclass(frozen=True)
class LabelData:
    """The data stored with a label beside its codes."""

    payload: str = ""
    """JSON text of the application, or empty."""
    thumbnail: bytes = b""
    """A small JPEG, or empty."""

    def checked(self, label: str) -> LabelData:
        """Return this data; raise `InputError` if the payload or the thumbnail is not valid."""
        if self.payload:
            try:
                json.loads(self.payload)
                self.payload.encode()
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"the payload is not valid JSON: {error}",
                    where=label,
                    remedy="quote it as JSON",
                ) from error
        if self.thumbnail and self.thumbnail[:3] != b"\xff\xd8\xff":
            raise InputError("the thumbnail is not a JPEG", where=label, remedy="encode it as JPEG")
        if len(self.thumbnail) > MAX_THUMBNAIL_BYTES:
            raise InputError(
                f"the thumbnail must not exceed {MAX_THUMBNAIL_BYTES} bytes, "
                f"got {len(self.thumbnail)}",
                where=label,
            )
        return self


class Counts(NamedTuple):
    """A number of pictures, and the number of their codes."""

    pictures: int
    codes: int


class EnrollCounts(NamedTuple):
    """The outcome of an enrollment, in numbers."""

    pictures_added: int
    codes_added: int
    pictures_known: int
    """Pictures that were enrolled under the same label before."""


@dataclass(frozen=True)
class Stats:
    """A gallery in numbers."""

    path: str
    model_id: str
    bits: int
    pictures: int
    codes: int
    labels: int
    generation: int
    """The number of committed changes."""
    size_bytes: int
