"""The vector unit of a CPU; plain values, so that a device can be described without TVM."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

SDOT, SMULL, VNNI, PLAIN = "sdot", "smull", "vpdpbusd", "plain"
"""ARM with the dot product, ARM without it, x86 with it, and anything else."""


@dataclass(frozen=True)
class Vector:
    """The vector unit that a kernel is scheduled for."""

    lanes: int
    """Numbers a register."""
    by_lane: bool
    """A multiply-add can take one lane of a register as its scalar (NEON); else scalars are best
    broadcast from memory (AVX)."""
    way: str = ""
    """How it multiplies bytes (kernels/instructions.py)."""

    def dividing(self, *channels: int) -> Vector:
        """The widest vector, no wider than this one, of which `channels` are multiples."""
        return replace(self, lanes=math.gcd(self.lanes, *channels))
