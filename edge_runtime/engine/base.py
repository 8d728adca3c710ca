"""The contract of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from edge_runtime.code import Code
from edge_runtime.model import ModelInfo
from edge_runtime.stopwatch import Lap, no_lap

if TYPE_CHECKING:  # it loads OpenCV, which no engine needs
    from edge_runtime.fit import Image


class Engine(ABC):
    """Hashes one picture at a time; not safe to share between threads."""

    name: str
    """Of the kind of engine, for logs and reports."""
    reason: str
    """Why this engine was chosen."""
    threads: int
    model: ModelInfo

    @abstractmethod
    def hash(self, image: Image, lap: Lap = no_lap) -> Code:
        """The packed code of a fitted `image`: uint8 S x S x 3 BGR to uint64 [W].

        S is `model.input.size`. Normalisation, network, threshold and packing are inside; an
        engine that can tell them apart ends the stages "hash" and "pack" with `lap`, another one
        only "hash". Raises `EngineError`.
        """

    def close(self) -> None:  # noqa: B027  (most engines hold nothing that needs it)
        """Free what the engine holds; it cannot be used afterwards."""
