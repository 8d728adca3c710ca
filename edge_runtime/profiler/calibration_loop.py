"""A fixed small amount of work, timed after every frame, which shows the machine's own speed.

The speed of a machine varies: programs on other cores use cache and memory bandwidth, the clock
changes. This affects every stage, to a different degree, and this loop, too. `report compare` uses
it to distinguish a slower program from a temporarily slower machine.
"""

from __future__ import annotations

import time

import numpy as np

TABLE_BYTES = 1 << 19
READS = 2048
"""Reads scattered over the table. Their time depends on the caches as the network leaves them."""
ADDITIONS = 200
"""Additions in the interpreter. Their time depends on the clock frequency."""


class CalibrationLoop:
    """Some tens of microseconds of constant work."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self._table = generator.integers(0, 256, TABLE_BYTES, dtype=np.uint8)
        self._positions = generator.permutation(TABLE_BYTES)[:READS]
        self._values = np.empty(READS, np.uint8)
        self._numbers = [number % 7 for number in range(ADDITIONS)]

    def measure_ms(self) -> float:
        """Run the loop once and return its time."""
        began_ns = time.perf_counter_ns()
        self._table.take(self._positions, out=self._values, mode="clip")
        total = 0
        for number in self._numbers:
            total += number
        return (time.perf_counter_ns() - began_ns) / 1e6
