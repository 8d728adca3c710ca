"""Event counts of an emulated CPU. They are exact and repeatable, but they are not times."""

from __future__ import annotations

from dataclasses import dataclass

from compile.target.description import Target

CLASSES = ("int", "branch", "load", "store", "vload", "vstore", "fma", "vector", "hint")
"""Instruction classes of emulation/counts.c. "hint" covers no-ops and prefetches; "vector" is every
vector or scalar float instruction that is neither a multiply-add nor a memory access."""


@dataclass(frozen=True)
class Counts:
    """Instructions by class, cache misses, and bytes moved."""

    by_class: dict[str, int]
    l1_misses: int
    l2_misses: int
    vector_bytes: int = 0
    """Bytes moved by vector loads and stores."""

    @property
    def instructions(self) -> int:
        """The number of instructions of all classes."""
        return sum(self.by_class.values())

    def as_dict(self) -> dict[str, int]:
        """Return a flat mapping for JSON: each class, then bytes and misses."""
        return {
            **self.by_class,
            "vector_bytes": self.vector_bytes,
            "l1_misses": self.l1_misses,
            "l2_misses": self.l2_misses,
        }

    def plus(self, other: Counts) -> Counts:
        """Return the sum of these counts and `other`."""
        by_class = {name: count + other.by_class[name] for name, count in self.by_class.items()}
        return Counts(
            by_class,
            self.l1_misses + other.l1_misses,
            self.l2_misses + other.l2_misses,
            self.vector_bytes + other.vector_bytes,
        )

    def without(self, other: Counts) -> Counts:
        """Return these counts minus `other`, clipped at zero."""
        by_class = {
            name: max(0, count - other.by_class[name]) for name, count in self.by_class.items()
        }
        return Counts(
            by_class,
            max(0, self.l1_misses - other.l1_misses),
            max(0, self.l2_misses - other.l2_misses),
            max(0, self.vector_bytes - other.vector_bytes),
        )

    def cycles(self, target: Target) -> float:
        """Return estimated cycles: counts weighted by the device's `cost`."""
        each, first, second = target.cost
        return each * self.instructions + first * self.l1_misses + second * self.l2_misses
