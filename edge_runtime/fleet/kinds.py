"""The head and the operations of a version (read and written by `fleet.operations`)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.position import Position


@dataclass(frozen=True)
class Head:
    """The first line of a version."""

    version: int
    base: int | None
    """The version that a delta is applied to; None for a full file."""
    model_id: str
    """The model that computed the codes."""
    bits: int
    content: str
    """The content digest of a gallery at this version (`edge_runtime.fleet.content`)."""


@dataclass(frozen=True)
class Add:
    """One picture with all of its views; it replaces the picture with this label and digest."""

    label: str
    digest: bytes
    """32 bytes."""
    codes: tuple[bytes, ...]
    """One code per view, ceil(bits / 8) bytes, least significant first."""
    features: tuple[bytes, ...] | None = None
    """int8 [F] of each view, or b"" for one that has none; None if no view has any."""
    position: Position | None = None
    source: str = ""
    """Where the picture came from, for people. It is not part of the content."""


@dataclass(frozen=True)
class Remove:
    """Remove the picture with this label and digest, or without a digest the whole label."""

    label: str
    digest: bytes | None = None


@dataclass(frozen=True)
class Relabel:
    """Move the pictures of the label `old` to `new`. The data of the label does not move."""

    old: str
    new: str


@dataclass(frozen=True)
class Label:
    """Replace the data of a label. An empty payload and thumbnail remove it."""

    label: str
    payload: str = ""
    """JSON text, or empty."""
    thumbnail: bytes = b""
    """A small JPEG, or empty."""


@dataclass(frozen=True)
class Reject:
    """A proposal that is not accepted: boards remove their pending pictures with this digest."""

    digest: bytes


Operation = Add | Remove | Relabel | Label | Reject
