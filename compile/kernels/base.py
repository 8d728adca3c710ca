"""What a kernel is, and the schedule steps that all kernels share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule

from compile.target.vector_unit import Vector

OUT_STRIDE = "edge.out_stride"
"""A function's attribute: numbers from one row of its output, a buffer called O, to the next."""

NUMBERS = {"fp32": ("float32", 4), "fp16": ("float16", 2), "int8": ("int8", 1)}
"""Of a precision: the type of weights, activations and sums, and its bytes."""
STARTS = "edge.starts"
"""A function's attribute: of each block of sums, the buffer that it starts from instead of zero,
and which of the block's axes index it (the last one, if it does not say).

TVM's reductions start from a constant; a bias added at the end would cost an instruction a sum."""
AHEAD = "edge.ahead"
"""A function's attribute: the weights that a step of its sums uses, if those that come next are to
be fetched meanwhile (compile/passes/prefetch.py); 0: they are not."""

LATE = "edge.late"
"""A function's attribute: copies into registers are made just before their use (compile/passes/sink_loads.py).
"""


@dataclass(frozen=True)
class Kernel:
    """A scheduled function whose one parallel loop runs over `tasks`."""

    name: str
    function: tirx.PrimFunc
    tasks: int


def vectorise(schedule: Schedule, loop: Any, lanes: int) -> None:
    """Run `loop` in whole registers: unrolled outside, vectors of `lanes` inside."""
    outer, inner = schedule.split(loop, [None, lanes])
    schedule.unroll(outer)
    schedule.vectorize(inner)


def start_in_registers(schedule: Schedule, start: Any, vector: Vector) -> None:
    """Schedule the block that sets a register tile, [..., pixels, channels], to zero."""
    pixels, channels = schedule.get_loops(start)[-2:]
    schedule.unroll(pixels)
    vectorise(schedule, channels, vector.lanes)


def activate(value: tirx.PrimExpr, limit: float | None, dtype: str) -> tirx.PrimExpr:
    """ReLU up to `limit` (infinite: plain ReLU; None: no activation)."""
    if limit is None:
        return value
    if limit != float("inf"):
        value = tirx.min(value, tirx.const(limit, dtype))
    return tirx.max(value, tirx.const(0, dtype))
