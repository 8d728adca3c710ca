"""What the harness must know about a reader of outside bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT


@dataclass(frozen=True)
class Reader:
    """A function that reads bytes from outside, and inputs to start from."""

    name: str
    seeds: Callable[[], list[bytes]]
    """Valid inputs of every kind, and hostile ones. The files in tests/data/fuzz/NAME are added."""
    read: Callable[[bytes], object]
    """Reads one input. It may raise `allowed`; all else is a failure, as are a crash, a line on
    stderr, more memory than the limit, and a run longer than `harness.INPUT_S`."""
    allowed: tuple[type[Exception], ...]
    """Errors that tell the user what is wrong with the input."""
    memory_mb: int = 256
    """Memory that one input may take beside what the process had before it."""

    def corpus(self) -> list[bytes]:
        """Return all inputs to start from, which are not empty."""
        folder = ROOT / "tests" / "data" / "fuzz" / self.name
        kept = sorted(path for path in folder.glob("*") if path.is_file())
        return [*self.seeds(), *(Path(path).read_bytes() for path in kept)]
