"""The contract of a source of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from edge_runtime.image.lazy_jpeg import Picture


class Shot(NamedTuple):
    """One picture as a source delivers it."""

    picture: Picture | None
    """None: something came that cannot be decoded."""
    captured_at_s: float
    """`time.monotonic` at delivery, before decoding where the two can be told apart."""
    name: str = ""
    requested_at_s: float | None = None
    """When it began to be fetched, where that is later than the call of `Source.next`."""


@dataclass(frozen=True)
class CameraOptions:
    """What a camera is asked for; each kind honours what it can."""

    width: int = 640
    """Pixels."""
    height: int = 480
    fps: float = 10.0
    loop: bool = False
    """A file begins anew at its end."""
    real_time: bool = False
    """A file plays at its own speed, like a camera: frames that come too late are dropped."""


class Source(ABC):
    """Delivers pictures; every call may block, for ever if the hardware hangs."""

    name: str
    """For people: the device, file or address, without passwords."""
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

    def skip(self) -> bool:
        """Pass over one picture as cheaply as possible; False when there is none (any more)."""
        return self.next() is not None

    def interrupt(self) -> None:  # noqa: B027  (most sources can only be left alone)
        """From another thread: make a call that hangs return, where that can be done."""

    def clone(self) -> Source:
        """A fresh source for the same camera; another one may still hang in its driver."""
        raise NotImplementedError
