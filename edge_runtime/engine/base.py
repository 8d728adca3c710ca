"""The interface of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.code import Code, Embedding
from edge_runtime.model import ModelInfo
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer

if TYPE_CHECKING:  # loads OpenCV, which no engine needs
    from edge_runtime.image import Image


@dataclass(frozen=True)
class Step:
    """One step of a network: an operator, or a kernel that combines several."""

    name: str
    kind: str
    multiply_adds: int | None
    """Multiply-adds per call by the textbook definition; None if unknown."""
    times_ms: list[float]
    """One time per call."""


class Engine(ABC):
    """Hashes one image at a time. Not thread-safe."""

    name: str
    """Kind of the engine, for logs and reports."""
    reason: str
    """Why this engine was selected."""
    threads: int
    model: ModelInfo
    target: str | None = None
    """Device that the network was compiled for; None if it was not compiled."""
    precision: str | None = None
    """Arithmetic of the compiled network; None if it was not compiled."""

    @abstractmethod
    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """Return the packed code (uint64 [W]) of a preprocessed `image` (uint8 S x S x 3, BGR).

        S is `model.input.size`. This includes normalization, network, threshold and packing. An
        engine that can separate them marks the stages "hash" and "pack" on `timer`; others mark
        only "hash". Raises `EngineError`.
        """

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """Return the code and the pooled features of a preprocessed `image`, from one run.

        The code is the one that `hash` returns. The features are None if the model gives none
        (`model.features` is 0). Marks the same stages as `hash`; raises `EngineError`.
        """
        return Embedding(self.hash(image, timer), None)

    def steps(self, image: Image, calls: int) -> list[Step]:
        """Hash a preprocessed `image` `calls` times; return the time of each step, in order.

        Returns an empty list if the engine cannot time its steps. May allocate extra memory.
        """
        return []

    def close(self) -> None:  # noqa: B027  (optional: most engines hold no resources)
        """Release the engine's resources; it cannot be used afterwards."""
