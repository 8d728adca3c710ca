"""The first convolution, straight from the camera's pixels.

Its input is uint8 H x W x 3, blue first, as OpenCV gives it. Colour order and normalisation
(value = pixel * scale + offset) are folded into the weights and the bias; the border, zero after
normalisation, is then the pixel value -offset / scale, for which `pad` stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import te, tirx
from tvm.s_tir import Schedule

from compile.kernels.base import (
    OUT_STRIDE,
    STARTS,
    Kernel,
    Vector,
    activate,
    start_in_registers,
    vectorise,
)

COLOURS = 3
STEP = 16
"""Pixels values converted at a time."""


@dataclass(frozen=True)
class Stem:
    """The geometry of the first convolution."""

    height: int
    """Of the output, as is the width."""
    width: int
    outputs: int
    size: int
    """Side of the camera's square, pixels."""
    window: int
    stride: int
    top: int
    """Rows of border above, as `left` columns beside."""
    left: int
    pad: float
    out_stride: int
    centre: float = 0.0
    """Subtracted from every pixel, so that what is summed is small (fp16)."""
    limit: float | None = 6.0
    dtype: str = "float32"


@dataclass(frozen=True)
class StemKnobs:
    """What the search chooses."""

    rows: int = 8
    """Output rows a task."""
    tw: int = 4
    """Pixels whose sums are in registers at a time."""
    nr: int = 16
    """Channels likewise."""


def valid(stem: Stem, knobs: StemKnobs, vector: Vector) -> bool:
    """Whether `knobs` fit the geometry."""
    return (
        stem.height % knobs.rows == 0
        and stem.width % knobs.tw == 0
        and stem.outputs % knobs.nr == 0
        and knobs.nr % vector.lanes == 0
    )


def kernel(name: str, stem: Stem, knobs: StemKnobs, vector: Vector) -> Kernel:
    """(X uint8 [S, S * 3], W [window, window * 3, N], B [N], O)."""
    line, dtype = stem.size * COLOURS, stem.dtype
    x = te.placeholder((stem.size, line), "uint8", "X")
    w = te.placeholder((stem.window, stem.window * COLOURS, stem.outputs), dtype, "W")
    bias = te.placeholder((stem.outputs,), dtype, "B")
    high = (stem.height - 1) * stem.stride + stem.window
    wide = ((stem.width - 1) * stem.stride + stem.window) * COLOURS
    wide = -(-wide // STEP) * STEP
    shift = stem.left * COLOURS

    def pixel(row: Any, place: Any) -> Any:
        inside = tirx.all(
            row >= stem.top, row < stem.top + stem.size, place >= shift, place < shift + line
        )
        value = x[row - stem.top, place - shift].astype(dtype)
        if stem.centre:
            value = value - tirx.const(stem.centre, dtype)
        return tirx.if_then_else(inside, value, tirx.const(stem.pad - stem.centre, dtype))

    padded = te.compute((high, wide), pixel, "padded")
    r = te.reduce_axis((0, stem.window), "r")
    q = te.reduce_axis((0, stem.window * COLOURS), "q")
    shape = (stem.height, stem.width, stem.outputs)
    sums = te.compute(
        shape,
        lambda i, j, n: te.sum(
            padded[i * stem.stride + r, j * (stem.stride * COLOURS) + q] * w[r, q, n], axis=[r, q]
        ),
        "sum",
    )
    out = te.compute(shape, lambda i, j, n: activate(sums[i, j, n], stem.limit, dtype), "O")
    function = te.create_prim_func([x, w, bias, out])
    schedule = Schedule(function.with_attrs({OUT_STRIDE: stem.out_stride, STARTS: {"sum": "B"}}))
    _schedule(schedule, knobs, vector)
    return Kernel(name, schedule.mod["main"], stem.height // knobs.rows)


def _schedule(schedule: Schedule, knobs: StemKnobs, vector: Vector) -> None:
    out = schedule.get_sblock("O")
    i, j, n = schedule.get_loops(out)
    task, i = schedule.split(i, [None, knobs.rows])
    j_tile, j = schedule.split(j, [None, knobs.tw])
    block, n = schedule.split(n, [None, knobs.nr])
    schedule.reorder(task, i, block, j_tile, j, n)
    schedule.parallel(task)
    vectorise(schedule, n, vector.lanes)
    schedule.unroll(j)

    sums = schedule.get_sblock("sum")
    schedule.compute_at(sums, j_tile, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    _, j, n, r, q = schedule.get_loops(sums)[-5:]
    schedule.reorder(r, q, j, n)
    schedule.unroll(q)
    schedule.unroll(j)
    vectorise(schedule, n, vector.lanes)
    start_in_registers(schedule, schedule.decompose_reduction(sums, r), vector)

    padded = schedule.get_sblock("padded")
    schedule.compute_at(padded, task, preserve_unit_loops=True)
    place = schedule.get_loops(padded)[-1]
    # Whole steps, over the end of the row: its buffer has room for them, and a check of every
    # number would keep the step from being one of vectors.
    _, inner = schedule.split(place, [None, STEP], disable_predication=True)
    schedule.vectorize(inner)
