"""The first convolution, straight from the camera's pixels.

Its input is uint8 H x W x 3, blue first, as OpenCV gives it. Colour order and normalisation
(value = pixel * scale + offset) are folded into the weights and the bias; the border, zero after
normalisation, is then the pixel value -offset / scale, for which `pad` stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx
from tvm.s_tir import Schedule

from compile.kernels.base import OUT_STRIDE, STARTS, Kernel, activate, start_in_registers, vectorise
from compile.kernels.instructions import WAYS, dot, nearest, share, word
from compile.target.vector_unit import PLAIN, VNNI, Vector

COLOURS, WORD = 3, 4
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
    pad: tuple[float, ...]
    """Blue first."""
    out_stride: int
    centre: float = 0.0
    """Subtracted from every pixel, so that what is summed is small (fp16)."""
    limit: float | None = 6.0
    dtype: str = "float32"
    """In which it counts."""
    out: str = "float32"
    """The type of its output; int8: the nearest byte, and no activation but its ends."""
    whole: bool = False
    """Count in bytes, the pixels less 128, four at a time."""


@dataclass(frozen=True)
class StemConfig:
    """What the search chooses."""

    rows: int = 8
    """Output rows a task."""
    tw: int = 4
    """Pixels whose sums are in registers at a time."""
    nr: int = 16
    """Channels likewise."""


def valid(stem: Stem, knobs: StemConfig, vector: Vector) -> bool:
    """Whether `knobs` fit the geometry."""
    return (
        stem.height % knobs.rows == 0
        and stem.width % knobs.tw == 0
        and stem.outputs % knobs.nr == 0
        and knobs.nr % vector.lanes == 0
    )


def kernel(name: str, stem: Stem, knobs: StemConfig, vector: Vector) -> Kernel:
    """(X uint8 [S, S * 3], W [window, window * 3, N], B [N], O); whole: (X, W int32 [window,
    words, N], B int32 [N], F [N], O), F int32 or, for an output in float32, float32."""
    if stem.whole:
        return _whole(name, stem, knobs, vector)
    line, dtype = stem.size * COLOURS, stem.dtype
    x = te.placeholder((stem.size, line), "uint8", "X")
    w = te.placeholder((stem.window, stem.window * COLOURS, stem.outputs), dtype, "W")
    bias = te.placeholder((stem.outputs,), dtype, "B")

    def number(value: Any) -> Any:
        value = value.astype(dtype)
        return value - tirx.const(stem.centre, dtype) if stem.centre else value

    pads = [tirx.const(pad - stem.centre, dtype) for pad in stem.pad]
    padded = _padded(stem, x, number, pads if len(set(stem.pad)) > 1 else pads[:1])
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

    def final(i: Any, j: Any, n: Any) -> Any:
        value = sums[i, j, n]
        return nearest(value) if stem.out == "int8" else activate(value, stem.limit, dtype)

    function = te.create_prim_func([x, w, bias, te.compute(shape, final, "O")])
    attributes = {OUT_STRIDE: stem.out_stride, STARTS: {"sum": "B"}, WAYS: vector.way}
    schedule = Schedule(function.with_attrs(attributes))
    _schedule(schedule, knobs, vector, math.gcd(knobs.nr, 16) if stem.out == "int8" else 0)
    return Kernel(name, schedule.mod["main"], stem.height // knobs.rows)


def _padded(stem: Stem, x: te.Tensor, number: Callable[[Any], Any], pads: list[Any]) -> te.Tensor:
    """The picture with its border, as numbers, and room to read whole steps and words; `pads`: of
    all colours, or of each."""
    line, shift = stem.size * COLOURS, stem.left * COLOURS
    high = (stem.height - 1) * stem.stride + stem.window
    wide = ((stem.width - 1) * stem.stride + stem.window) * COLOURS
    wide = -(-(wide + WORD * stem.whole) // STEP) * STEP

    def border(place: Any) -> Any:
        colour = tirx.indexmod(place, COLOURS)
        value = pads[-1]
        for number, pad in enumerate(pads[:-1]):
            value = tirx.if_then_else(colour == number, pad, value)
        return value

    def pixel(row: Any, place: Any) -> Any:
        inside = tirx.all(
            row >= stem.top, row < stem.top + stem.size, place >= shift, place < shift + line
        )
        return tirx.if_then_else(inside, number(x[row - stem.top, place - shift]), border(place))

    return te.compute((high, wide), pixel, "padded")


def _whole(name: str, stem: Stem, knobs: StemConfig, vector: Vector) -> Kernel:
    words = -(-stem.window * COLOURS // WORD)
    unsigned = vector.way in (VNNI, PLAIN)
    x = te.placeholder((stem.size, stem.size * COLOURS), "uint8", "X")
    w = te.placeholder((stem.window, words, stem.outputs), "int32", "W")
    bias = te.placeholder((stem.outputs,), "int32", "B")
    small = stem.out == "int8"
    factor = te.placeholder((stem.outputs,), "int32" if small else stem.out, "F")
    if unsigned:
        padded = _padded(stem, x, lambda value: value, [tirx.const(128, "uint8")])
    else:
        middle = tirx.const(128, "uint8")
        padded = _padded(
            stem, x, lambda value: (value ^ middle).astype("int8"), [tirx.const(0, "int8")]
        )
    r, g = te.reduce_axis((0, stem.window), "r"), te.reduce_axis((0, words), "q")
    shape = (stem.height, stem.width, stem.outputs)

    def product(i: Any, j: Any, n: Any) -> Any:
        first = j * (stem.stride * COLOURS) + g * WORD
        bytes_ = [padded[i * stem.stride + r, first + byte] for byte in range(WORD)]
        return te.sum(dot([(word(bytes_), w[r, g, n])]), axis=[r, g])

    sums = te.compute(shape, product, "sum")

    def final(i: Any, j: Any, n: Any) -> Any:
        if small:
            return share(sums[i, j, n], factor[n])
        return activate(sums[i, j, n].astype(stem.out) * factor[n], stem.limit, stem.out)

    out = te.compute(shape, final, "O")
    function = te.create_prim_func([x, w, bias, factor, out])
    attributes = {OUT_STRIDE: stem.out_stride, STARTS: {"sum": "B"}, WAYS: vector.way}
    schedule = Schedule(function.with_attrs(attributes))
    _schedule(schedule, knobs, vector, math.gcd(knobs.nr, 16) if small else 0)
    return Kernel(name, schedule.mod["main"], stem.height // knobs.rows)


def _schedule(schedule: Schedule, knobs: StemConfig, vector: Vector, out_lanes: int) -> None:
    out = schedule.get_sblock("O")
    i, j, n = schedule.get_loops(out)
    task, i = schedule.split(i, [None, knobs.rows])
    j_tile, j = schedule.split(j, [None, knobs.tw])
    block, n = schedule.split(n, [None, knobs.nr])
    schedule.reorder(task, i, block, j_tile, j, n)
    schedule.parallel(task)
    vectorise(schedule, n, out_lanes or vector.lanes)
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
