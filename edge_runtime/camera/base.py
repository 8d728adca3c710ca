"""The interface of a source of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_runtime.image.lazy_jpeg import Picture


class Shot(NamedTuple):
    """One picture delivered by a source."""

    picture: Picture | None
    """None if the source delivered data that cannot be decoded."""
    captured_at_s: float
    """Time of delivery (`time.monotonic`), before decoding if the two can be separated."""
    name: str = ""
    """Name of the picture if it has one, such as a file's path."""
    requested_at_s: float | None = None
    """Time at which fetching began, if later than the call of `Source.next`."""
    fault: str = ""
    """Why there is no picture, if the source knows."""


@dataclass(frozen=True)
class CameraOptions:
    """Requested camera settings. Each kind of camera applies those that it supports."""

    width: int = 640
    """Pixels."""
    height: int = 480
    fps: float = 10.0
    loop: bool = False
    """Restart a file at its end."""
    real_time: bool = False
    """Play a file at its own speed and drop late frames, like a camera."""
    password: str = field(default="", repr=False)
    """Password of the user in the address of a network camera; empty if it needs none."""


class Source(ABC):
    """Delivers pictures. Every call may block, even forever if the hardware hangs."""

    name: str
    """The device, file or address, without passwords; shown to users."""
    live: bool
    """True if only the newest picture matters and an end of the stream is a fault. False if every
    picture counts and the end is normal."""

    @abstractmethod
    def open(self) -> None:
        """Open the source; raises `CameraNotFoundError`."""

    @abstractmethod
    def next(self) -> Shot | None:
        """Return the next picture, or None at the end."""

    @abstractmethod
    def close(self) -> None:
        """Release the hardware. Called once, on the thread that opened it."""

    def skip(self) -> bool:
        """Skip one picture as cheaply as possible; return False at the end."""
        return self.next() is not None

    def interrupt(self) -> None:  # noqa: B027  (optional: most sources cannot be interrupted)
        """Make a hanging call return, if possible. Called from another thread."""

    def clone(self) -> Source:
        """Return a new source for the same camera; this one may still hang in its driver."""
        raise NotImplementedError
