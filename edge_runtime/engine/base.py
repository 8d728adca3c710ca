"""The contract of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.code import Code
from edge_runtime.model import ModelInfo
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer

if TYPE_CHECKING:  # it loads OpenCV, which no engine needs
    from edge_runtime.image import Image


@dataclass(frozen=True)
class Step:
    """One step of a network: an operator, or a kernel that does several."""

    name: str
    kind: str
    multiply_adds: int | None
    """Of a call, by the textbook; None: not known."""
    times_ms: list[float]
    """One a call."""


class Engine(ABC):
    """Hashes one picture at a time; not safe to share between threads."""

    name: str
    """Of the kind of engine, for logs and reports."""
    reason: str
    """Why this engine was chosen."""
    threads: int
    model: ModelInfo
    target: str | None = None
    """The device that the network was compiled for; None: it was not."""
    precision: str | None = None
    """The arithmetic of the compiled network."""

    @abstractmethod
    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """The packed code of a fitted `image`: uint8 S x S x 3 BGR to uint64 [W].

        S is `model.input.size`. Normalisation, network, threshold and packing are inside; an
        engine that can tell them apart ends the stages "hash" and "pack" with `lap`, another one
        only "hash". Raises `EngineError`.
        """

    def steps(self, image: Image, calls: int) -> list[Step]:
        """Hash a fitted `image` `calls` times and time every step, in the order that they run in.

        Empty where the engine cannot tell its steps apart. May take memory of its own.
        """
        return []

    def close(self) -> None:  # noqa: B027  (most engines hold nothing that needs it)
        """Free what the engine holds; it cannot be used afterwards."""
