"""The kernel type, and the schedule steps that all kernels share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.s_tir import Schedule

from compile.target.vector_unit import Vector

Tensor: TypeAlias = Any
"""A te.Tensor. TVM has no type stubs."""
Expr: TypeAlias = Any
"""A TVM expression."""

# Attributes of a scheduled function:
OUT_STRIDE = "edge.out_stride"
"""Numbers from one row of the output, the buffer O, to the next."""

DTYPES = {"fp32": ("float32", 4), "fp16": ("float16", 2), "int8": ("int8", 1)}
"""By precision: data type of weights, activations and sums, and its size in bytes."""
INITIAL_VALUES = "edge.initial_values"
"""For each block of sums, the buffer that the sums start from instead of zero, and the axes of the
block that index it (default: the last one).

TVM's reductions start from a constant. A bias added at the end would cost one instruction per sum.
"""
PREFETCH_STEP = "edge.prefetch_step"
"""Weights that one step of the sums uses, to prefetch the next ones meanwhile
(compile/passes/prefetch.py). 0: no prefetch."""

SINK_LOADS = "edge.sink_loads"
"""Load registers just before their use (compile/passes/sink_loads.py)."""


@dataclass(frozen=True)
class Kernel:
    """A scheduled function whose one parallel loop has `tasks` iterations."""

    name: str
    function: tirx.PrimFunc
    tasks: int


def vectorize_loop(schedule: Schedule, loop: Any, lanes: int) -> None:
    """Split `loop` into vectors of `lanes`, and unroll the loop over them."""
    outer, inner = schedule.split(loop, [None, lanes])
    schedule.unroll(outer)
    schedule.vectorize(inner)


def start_in_registers(schedule: Schedule, start: Any, vector: Vector) -> None:
    """Schedule the block that initializes a register tile [..., pixels, channels]."""
    pixels, channels = schedule.get_loops(start)[-2:]
    schedule.unroll(pixels)
    vectorize_loop(schedule, channels, vector.lanes)


def activate(value: Expr, limit: float | None, dtype: str) -> Expr:
    """Apply a ReLU up to `limit` (infinity: plain ReLU; None: no activation)."""
    if limit is None:
        return value
    if limit != float("inf"):
        value = tirx.min(value, tirx.const(limit, dtype))
    return tirx.max(value, tirx.const(0, dtype))
