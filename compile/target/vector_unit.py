"""The vector unit of a CPU, as plain values: a device can be described without TVM."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

SDOT, SMULL, VNNI, PLAIN = "sdot", "smull", "vpdpbusd", "plain"
"""Kinds of dot product: ARM with the instruction, ARM without it, x86 with it, and all others."""


@dataclass(frozen=True)
class Vector:
    """The vector unit that a kernel is scheduled for."""

    lanes: int
    """Numbers per register."""
    by_lane: bool
    """A multiply-add can take one lane of a register as its scalar (NEON). Otherwise scalars are
    best broadcast from memory (AVX)."""
    dot_product_kind: str = ""
    """How the CPU multiplies bytes (kernels/instructions.py)."""

    def dividing(self, *channels: int) -> Vector:
        """Return the widest vector, at most this one, whose lanes divide all `channels`."""
        return replace(self, lanes=math.gcd(self.lanes, *channels))
