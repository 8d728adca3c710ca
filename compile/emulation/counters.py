"""What an emulated CPU did, as numbers: exact, and the same in every run, but no times."""

from __future__ import annotations

from dataclasses import dataclass

from compile.target.description import Target

CLASSES = ("int", "branch", "load", "store", "vload", "vstore", "fma", "vector", "hint")
"""Of instructions, as emulation/counts.c tells them apart. Hints are no-operations and their like;
"vector" is all that is neither a multiply-add nor an access to memory, scalar floats too."""


@dataclass(frozen=True)
class Counts:
    """What the emulated CPU did."""

    by_class: dict[str, int]
    l1_misses: int
    l2_misses: int
    vector_bytes: int = 0
    """Moved by vector loads and stores."""

    @property
    def instructions(self) -> int:
        """All of them."""
        return sum(self.by_class.values())

    def as_dict(self) -> dict[str, int]:
        """Flat, for JSON: each class, then the bytes and misses."""
        return {
            **self.by_class,
            "vector_bytes": self.vector_bytes,
            "l1_misses": self.l1_misses,
            "l2_misses": self.l2_misses,
        }

    def plus(self, other: Counts) -> Counts:
        """These and `other`."""
        mix = {name: count + other.by_class[name] for name, count in self.by_class.items()}
        return Counts(
            mix,
            self.l1_misses + other.l1_misses,
            self.l2_misses + other.l2_misses,
            self.vector_bytes + other.vector_bytes,
        )

    def without(self, other: Counts) -> Counts:
        """These, less `other`; nothing below zero."""
        mix = {name: max(0, count - other.by_class[name]) for name, count in self.by_class.items()}
        return Counts(
            mix,
            max(0, self.l1_misses - other.l1_misses),
            max(0, self.l2_misses - other.l2_misses),
            max(0, self.vector_bytes - other.vector_bytes),
        )

    def cycles(self, target: Target) -> float:
        """An estimate, by the search's rough weights."""
        each, first, second = target.cost
        return each * self.instructions + first * self.l1_misses + second * self.l2_misses
