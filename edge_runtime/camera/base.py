"""The contract of a source of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from edge_runtime.fit import Image


class Shot(NamedTuple):
    """One picture as a source delivers it."""

    image: Image
    """uint8 H x W x 3, BGR."""
    captured_at_s: float
    """`time.monotonic` at delivery, before decoding where the two can be told apart."""
    name: str = ""


class Source(ABC):
    """Delivers pictures; every call may block, for ever if the hardware hangs."""

    name: str
    """For people: the device, file or address."""
    live: bool
    """True: the world moves on, old pictures are worthless, and the end is a fault.
    False: every picture counts, and the end is the end."""

    @abstractmethod
    def open(self) -> None:
        """Raises `CameraNotFoundError` if there is nothing to open."""

    @abstractmethod
    def next(self) -> Shot | None:
        """The next picture; None when there is none (any more)."""

    @abstractmethod
    def close(self) -> None:
        """Let the hardware go. Called once, on the thread that opened it."""
