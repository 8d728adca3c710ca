"""How fast is the machine itself just now? The same small work after every frame.

A machine is not equally fast all the time: a neighbour on the same chip takes cache and memory, a
clock moves. All stages feel it, each in its own measure; so does this. `report compare` uses it to
tell a slower program from a slower minute.
"""

from __future__ import annotations

import time

import numpy as np

TABLE_BYTES = 1 << 19
READS = 2048
"""Scattered over the table: they feel the caches, as the network's weights leave them."""
ADDITIONS = 200
"""In the interpreter: they feel the clock."""


class Yardstick:
    """Some tens of microseconds of work that never changes."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self._table = generator.integers(0, 256, TABLE_BYTES, dtype=np.uint8)
        self._places = generator.permutation(TABLE_BYTES)[:READS]
        self._found = np.empty(READS, np.uint8)
        self._numbers = [number % 7 for number in range(ADDITIONS)]

    def measure_ms(self) -> float:
        """Do it once."""
        began_ns = time.perf_counter_ns()
        self._table.take(self._places, out=self._found, mode="clip")
        total = 0
        for number in self._numbers:
            total += number
        return (time.perf_counter_ns() - began_ns) / 1e6
