"""The first convolution, which reads the camera's pixels.

Its input is uint8 H x W x 3, blue first, as OpenCV provides it. Color order and normalization
(value = pixel * scale + offset) are folded into the weights and the bias. The border, zero after
normalization, is then the pixel value -offset / scale: `Stem.pad`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx
from tvm.s_tir import Schedule

from compile.kernels.base import (
    INITIAL_VALUES,
    OUT_STRIDE,
    Kernel,
    activate,
    start_in_registers,
    vectorize_loop,
)
from compile.kernels.instructions import DOT_PRODUCT_KIND, dot, requantize, round_to_int8, word
from compile.target.vector_unit import PLAIN, VNNI, Vector

COLORS, WORD = 3, 4
STEP = 16
"""Pixel values converted at a time."""


@dataclass(frozen=True)
class Stem:
    """The geometry of the first convolution."""

    height: int
    """Height of the output."""
    width: int
    """Width of the output."""
    outputs: int
    size: int
    """Side of the input square, pixels."""
    window: int
    stride: int
    top: int
    """Rows of border above."""
    left: int
    """Columns of border at the left."""
    pad: tuple[float, ...]
    """Pixel value of the border in each channel, blue first."""
    out_stride: int
    center: float = 0.0
    """Subtracted from every pixel, to keep the sums small (fp16)."""
    limit: float | None = 6.0
    dtype: str = "float32"
    """Data type of the sums."""
    out: str = "float32"
    """Data type of the output. int8 rounds to nearest, and saturation is the activation."""
    integer: bool = False
    """Compute in integers: pixels minus 128, four at a time."""


@dataclass(frozen=True)
class StemConfig:
    """The schedule of the first convolution. The field names are keys of the tuning records."""

    rows: int = 8
    """Output rows per task."""
    tw: int = 4
    """Pixels per register tile."""
    nr: int = 16
    """Channels per register tile."""


def valid(stem: Stem, config: StemConfig, vector: Vector) -> bool:
    """Whether the tiles of `config` divide the geometry."""
    return (
        stem.height % config.rows == 0
        and stem.width % config.tw == 0
        and stem.outputs % config.nr == 0
        and config.nr % vector.lanes == 0
    )


def kernel(name: str, stem: Stem, config: StemConfig, vector: Vector) -> Kernel:
    """Return the kernel (X uint8 [S, S * 3], W [window, window * 3, N], B [N], O).

    In integers: (X, W int32 [window, words, N], B int32 [N], F [N], O). F is int32, or float32 if
    the output is float32.
    """
    if stem.integer:
        return _integer_kernel(name, stem, config, vector)
    line, dtype = stem.size * COLORS, stem.dtype
    x = te.placeholder((stem.size, line), "uint8", "X")
    w = te.placeholder((stem.window, stem.window * COLORS, stem.outputs), dtype, "W")
    bias = te.placeholder((stem.outputs,), dtype, "B")

    def number(value: Any) -> Any:
        value = value.astype(dtype)
        return value - tirx.const(stem.center, dtype) if stem.center else value

    pads = [tirx.const(pad - stem.center, dtype) for pad in stem.pad]
    padded = _padded(stem, x, number, pads if len(set(stem.pad)) > 1 else pads[:1])
    r = te.reduce_axis((0, stem.window), "r")
    q = te.reduce_axis((0, stem.window * COLORS), "q")
    shape = (stem.height, stem.width, stem.outputs)
    sums = te.compute(
        shape,
        lambda i, j, n: te.sum(
            padded[i * stem.stride + r, j * (stem.stride * COLORS) + q] * w[r, q, n], axis=[r, q]
        ),
        "sum",
    )

    def final(i: Any, j: Any, n: Any) -> Any:
        value = sums[i, j, n]
        return round_to_int8(value) if stem.out == "int8" else activate(value, stem.limit, dtype)

    function = te.create_prim_func([x, w, bias, te.compute(shape, final, "O")])
    attributes = {
        OUT_STRIDE: stem.out_stride,
        INITIAL_VALUES: {"sum": "B"},
        DOT_PRODUCT_KIND: vector.dot_product_kind,
    }
    schedule = Schedule(function.with_attrs(attributes))
    _schedule(schedule, config, vector, math.gcd(config.nr, 16) if stem.out == "int8" else 0)
    return Kernel(name, schedule.mod["main"], stem.height // config.rows)


def _padded(stem: Stem, x: te.Tensor, number: Callable[[Any], Any], pads: list[Any]) -> te.Tensor:
    """Return the picture as numbers, with its border and padding to whole steps and words.

    `pads` is the border's value for all colors or for each one.
    """
    line, shift = stem.size * COLORS, stem.left * COLORS
    high = (stem.height - 1) * stem.stride + stem.window
    wide = ((stem.width - 1) * stem.stride + stem.window) * COLORS
    wide = -(-(wide + WORD * stem.integer) // STEP) * STEP

    def border(place: Any) -> Any:
        color = tirx.indexmod(place, COLORS)
        value = pads[-1]
        for number, pad in enumerate(pads[:-1]):
            value = tirx.if_then_else(color == number, pad, value)
        return value

    def pixel(row: Any, place: Any) -> Any:
        inside = tirx.all(
            row >= stem.top, row < stem.top + stem.size, place >= shift, place < shift + line
        )
        return tirx.if_then_else(inside, number(x[row - stem.top, place - shift]), border(place))

    return te.compute((high, wide), pixel, "padded")


def _integer_kernel(name: str, stem: Stem, config: StemConfig, vector: Vector) -> Kernel:
    words = -(-stem.window * COLORS // WORD)
    unsigned = vector.dot_product_kind in (VNNI, PLAIN)
    x = te.placeholder((stem.size, stem.size * COLORS), "uint8", "X")
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
        first = j * (stem.stride * COLORS) + g * WORD
        bytes_ = [padded[i * stem.stride + r, first + byte] for byte in range(WORD)]
        return te.sum(dot([(word(bytes_), w[r, g, n])]), axis=[r, g])

    sums = te.compute(shape, product, "sum")

    def final(i: Any, j: Any, n: Any) -> Any:
        if small:
            return requantize(sums[i, j, n], factor[n])
        return activate(sums[i, j, n].astype(stem.out) * factor[n], stem.limit, stem.out)

    out = te.compute(shape, final, "O")
    function = te.create_prim_func([x, w, bias, factor, out])
    attributes = {
        OUT_STRIDE: stem.out_stride,
        INITIAL_VALUES: {"sum": "B"},
        DOT_PRODUCT_KIND: vector.dot_product_kind,
    }
    schedule = Schedule(function.with_attrs(attributes))
    _schedule(schedule, config, vector, math.gcd(config.nr, 16) if small else 0)
    return Kernel(name, schedule.mod["main"], stem.height // config.rows)


def _schedule(schedule: Schedule, config: StemConfig, vector: Vector, out_lanes: int) -> None:
    out = schedule.get_sblock("O")
    i, j, n = schedule.get_loops(out)
    task, i = schedule.split(i, [None, config.rows])
    j_tile, j = schedule.split(j, [None, config.tw])
    block, n = schedule.split(n, [None, config.nr])
    schedule.reorder(task, i, block, j_tile, j, n)
    schedule.parallel(task)
    vectorize_loop(schedule, n, out_lanes or vector.lanes)
    schedule.unroll(j)

    sums = schedule.get_sblock("sum")
    schedule.compute_at(sums, j_tile, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    _, j, n, r, q = schedule.get_loops(sums)[-5:]
    schedule.reorder(r, q, j, n)
    schedule.unroll(q)
    schedule.unroll(j)
    vectorize_loop(schedule, n, vector.lanes)
    start_in_registers(schedule, schedule.decompose_reduction(sums, r), vector)

    padded = schedule.get_sblock("padded")
    schedule.compute_at(padded, task, preserve_unit_loops=True)
    place = schedule.get_loops(padded)[-1]
    # Whole steps, beyond the end of the row: the buffer is large enough, and a bounds check for
    # every number would prevent vectorization.
    _, inner = schedule.split(place, [None, STEP], disable_predication=True)
    schedule.vectorize(inner)
