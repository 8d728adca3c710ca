"""A depthwise and a pointwise convolution on bytes: separable.py's product in int8.

An activation is real = scale[channel] * (byte - zero), the byte signed, scale and zero of its
tensor (compile/quantization/calibrate.py). Both convolutions sum exact products of bytes:

    depthwise   two sums in int16, of every other tap; their mean times a factor of 15 bits, plus
                an offset, shifted into a byte
                (of the first layer, whose output stays in float32: one sum in float32, to the
                nearest byte)
    pointwise   one sum in int32, from a bias, plus the residual times its weight; times a factor
                of 31 bits, rounded to a byte

Four bytes of neighbouring input channels are one int32 ("word"), so that K is a quarter as long;
a dot product of words is what the CPU has (kernels/instructions.py):

    SDOT        W [N/nr, K/4, nr], D [P/mr, K/4, mr]: as in separable.py, four lanes of int32
    VNNI        W the same, D [P/mr, mr, K/4], whose bytes are unsigned (128 more)
    SMULL       W [N/nr, K/(16 m), nr, 4 m], D [P/mr, mr, K/4]: neither has a word that stands for
                all of a register, so each sum is one of four lanes, added up at the end; m
                registers of each side are multiplied into 16 bits before they are widened
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from typing import Any

from tvm import te, tirx
from tvm.s_tir import Schedule

from compile.kernels.base import OUT_STRIDE, STARTS, Kernel, vectorise
from compile.kernels.instructions import (
    WAYS,
    across,
    dot,
    mean,
    narrow,
    nearest,
    plus,
    share,
    times,
    word,
)
from compile.kernels.separable import Block, ScheduleConfig, schedule_sums
from compile.kernels.words import (
    CHANNELS,
    WORD,
    chain,
    every_other_tap,
    group,
    step,
    tile_of,
)
from compile.target.vector_unit import PLAIN, SMULL, VNNI, Vector

Tensor = te.Tensor


def kernels(name: str, block: Block, knobs: ScheduleConfig, vector: Vector) -> list[Kernel]:
    """One fused kernel, (A, [DW, DM, DB, DS or DW, DB], W, B, F, [R, G], O), or two, with D between
    them.

    DW int8 [window, window, K], DM, DB and DS int16 [K] are the depthwise weights, factors, offsets
    and shifts; W int32 as above, B and F int32 [N]; R int8 the residual, G int32 [N] its weights.
    """
    arguments, middle = _front(block, knobs, vector)
    if knobs.fused:
        more, out = _pointwise(block, knobs, vector, middle)
        schedule = _schedule([*arguments, *more, out], block, vector)
        task = _schedule_pointwise(schedule, block, knobs, vector)
        _schedule_front(schedule, block, knobs, vector, at=task)
        tasks = block.height * block.width // knobs.mr // knobs.tiles
        return [Kernel(name, schedule.mod["main"], tasks)]
    function = te.create_prim_func([*arguments, middle]).with_attr(WAYS, vector.way)
    schedule = Schedule(function)
    _schedule_front(schedule, block, knobs, vector, at=None)
    tasks = block.height * block.width // knobs.mr
    first = Kernel(f"{name}_front", schedule.mod["main"], tasks)
    more, out = _pointwise(block, knobs, vector, te.placeholder(middle.shape, "int32", "D"))
    schedule = _schedule([*more, out], block, vector)
    _schedule_pointwise(schedule, block, knobs, vector)
    tasks = block.outputs // group(knobs, vector) // knobs.tiles
    return [first, Kernel(f"{name}_pointwise", schedule.mod["main"], tasks)]


def _front(block: Block, knobs: ScheduleConfig, vector: Vector) -> tuple[list[Tensor], Tensor]:
    mr, channels = knobs.mr, block.channels
    tiles, words = block.height * block.width // mr, channels // WORD
    a = te.placeholder((*block.in_shape, channels), block.source or "int8", "A")
    arguments = [a]

    high, wide = tile_of(block, mr)

    def at(tile: Any, pixel: Any, c: Any, y: int = 0, x: int = 0) -> Any:
        a_row = block.width // wide
        row = tile // a_row * high + pixel // wide
        column = tile % a_row * wide + pixel % wide
        return a[row * block.stride + y, column * block.stride + x, c]

    made = None
    if block.source:
        weights = te.placeholder((block.window, block.window, channels), block.source, "DW")
        bias = te.placeholder((channels,), block.source, "DB")
        arguments += [weights, bias]

        def whole(t: Any, i: Any, c: Any) -> Any:
            taps = itertools.product(range(block.window), repeat=2)
            products = [at(t, i, c, y, x) * weights[y, x, c] for y, x in taps]
            return functools.reduce(operator.add, products, bias[c])

        sums = te.compute((tiles, mr, channels), whole, "dsum0")
        made = te.compute((tiles, mr, channels), lambda t, i, c: nearest(sums[t, i, c]), "made")
    elif block.window:
        weights = te.placeholder((block.window, block.window, channels), "int8", "DW")
        factor, offset, shift = (
            te.placeholder((channels,), "int16", name) for name in ("DM", "DB", "DS")
        )
        arguments += [weights, factor, offset, shift]

        def half(number: int) -> Tensor:
            taps = every_other_tap(block.window)[number]

            def total(t: Any, i: Any, c: Any) -> Any:
                products = [
                    at(t, i, c, y, x).astype("int16") * weights[y, x, c].astype("int16")
                    for y, x in taps
                ]
                return functools.reduce(operator.add, products)

            return te.compute((tiles, mr, channels), total, f"dsum{number}")

        halves = [half(0), half(1)]

        def small(t: Any, i: Any, c: Any) -> Any:
            both = mean(halves[0][t, i, c], halves[1][t, i, c])
            return narrow(plus(times(both, factor[c]), offset[c]) >> shift[c])

        made = te.compute((tiles, mr, channels), small, "made")

    def packed(t: Any, i: Any, g: Any) -> Any:
        channels = [g * WORD + number for number in range(WORD)]
        value = word([at(t, i, c) if made is None else made[t, i, c] for c in channels])
        if vector.way in (VNNI, PLAIN):
            value = value ^ tirx.const(-0x7F7F7F80, "int32")  # each byte 128 more, and unsigned
        return value

    if vector.by_lane:
        shape = (tiles, words, mr)
        return arguments, te.compute(shape, lambda t, g, i: packed(t, i, g), "D")
    return arguments, te.compute((tiles, mr, words), packed, "D")


def _pointwise(
    block: Block, knobs: ScheduleConfig, vector: Vector, middle: Tensor
) -> tuple[list[Tensor], Tensor]:
    outputs, nr, m = block.outputs, knobs.nr, chain(block, vector)
    high, columns = tile_of(block, knobs.mr)
    steps = block.channels // step(block, vector)
    bias = te.placeholder((outputs,), "int32", "B")
    factor = te.placeholder((outputs,), "int32", "F")
    k = te.reduce_axis((0, steps), "k")
    shape = (block.height * block.width // knobs.mr, knobs.mr, outputs)
    if vector.way == SMULL:
        w = te.placeholder((outputs // nr, steps, nr, WORD * m), "int32", "W")

        def lanes(t: Any, i: Any, n: Any, j: Any) -> Any:
            pairs = [
                (middle[t, i, (k * m + p) * WORD + j], w[n // nr, k, n % nr, p * WORD + j])
                for p in range(m)
            ]
            return te.sum(dot(pairs), axis=k)

        parts = te.compute((*shape, WORD), lanes, "sum")
        sums = te.compute(
            shape, lambda t, i, n: across([parts[t, i, n, j] for j in range(WORD)]) + bias[n], "all"
        )
    else:
        w = te.placeholder((outputs // nr, steps, nr), "int32", "W")

        def product(t: Any, i: Any, n: Any) -> Any:
            left = middle[t, k, i] if vector.by_lane else middle[t, i, k]
            return te.sum(dot([(left, w[n // nr, k, n % nr])]), axis=k)

        sums = te.compute(shape, product, "sum")
    arguments = [w, bias, factor]
    residual = None
    if block.residual_stride:
        wide = (block.height, block.residual_stride // outputs, outputs)
        residual = te.placeholder(wide, "int8", "R")
        weight = te.placeholder((outputs,), "int32", "G")
        arguments += [residual, weight]

    def final(y: Any, x: Any, n: Any) -> Any:
        tile = y // high * (block.width // columns) + x // columns
        value = sums[tile, y % high * columns + x % columns, n]
        if residual is not None:
            value = value + residual[y, x, n].astype("int32") * weight[n]
        return share(value, factor[n])

    if not isinstance(middle.op, te.ComputeOp):
        arguments = [middle, *arguments]
    return arguments, te.compute((block.height, block.width, outputs), final, "O")


def _schedule(arguments: list[Tensor], block: Block, vector: Vector) -> Schedule:
    stride = block.out_stride or block.width * block.outputs
    starts = {} if vector.way == SMULL else {"sum": "B"}
    function = te.create_prim_func(arguments)
    return Schedule(function.with_attrs({OUT_STRIDE: stride, STARTS: starts, WAYS: vector.way}))


def _schedule_pointwise(
    schedule: Schedule, shape: Block, knobs: ScheduleConfig, vector: Vector
) -> Any:
    """Schedule the product; returns the loop over tasks."""
    wide = group(knobs, vector)
    high, columns = tile_of(shape, knobs.mr)
    y, x, n = schedule.get_loops(schedule.get_sblock("O"))
    (y, row), (x, column) = schedule.split(y, [None, high]), schedule.split(x, [None, columns])
    block, channel = schedule.split(n, [None, wide])
    schedule.reorder(y, x, row, column, block, channel)
    tile, pixel = schedule.fuse(y, x), schedule.fuse(row, column)
    if knobs.fused:
        task, tile = schedule.split(tile, [None, knobs.tiles])
    else:
        task, block = schedule.split(block, [None, knobs.tiles])
    order = (block, tile) if knobs.channels_outside else (tile, block)
    schedule.reorder(task, *order, pixel, channel)
    schedule.parallel(task)
    vectorise(schedule, channel, math.gcd(wide, CHANNELS))
    schedule.unroll(pixel)
    if vector.way == SMULL:
        _schedule_lanes(schedule, order[1], knobs)
    else:
        schedule_sums(schedule, order[1], knobs, vector)
    return task


def _schedule_lanes(schedule: Schedule, at: Any, knobs: ScheduleConfig) -> None:
    """Schedule "sum", whose four lanes "all" adds up, for nr channels at a time."""
    whole = schedule.get_sblock("all")
    schedule.compute_at(whole, at, preserve_unit_loops=True)
    schedule.set_scope(whole, 0, "local")
    i, n = schedule.get_loops(whole)[-2:]
    n_tile, n = schedule.split(n, [None, knobs.nr])
    schedule.reorder(n_tile, i, n)
    schedule.unroll(i)
    vectorise(schedule, n, WORD)
    sums = schedule.get_sblock("sum")
    schedule.compute_at(sums, n_tile, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    i, n, j, k = schedule.get_loops(sums)[-4:]
    steps, one = schedule.split(k, [None, knobs.unroll])
    schedule.reorder(steps, one, i, n, j)
    for loop in (one, i, n):
        schedule.unroll(loop)
    schedule.vectorize(j)
    start = schedule.decompose_reduction(sums, steps)
    i, n, j = schedule.get_loops(start)[-3:]
    schedule.unroll(i)
    schedule.unroll(n)
    schedule.vectorize(j)


def _schedule_front(
    schedule: Schedule, block: Block, knobs: ScheduleConfig, vector: Vector, *, at: Any
) -> None:
    """Schedule what makes D, inside the loop `at` or, without one, as tasks of its own."""
    middle = schedule.get_sblock("D")
    if at is not None:
        schedule.compute_at(middle, at, preserve_unit_loops=True)
    tile, first, second = schedule.get_loops(middle)[-3:]
    g, i = (first, second) if vector.by_lane else (second, first)
    g_block, g = schedule.split(g, [None, knobs.vc // WORD])
    i_block, i = schedule.split(i, [None, knobs.tw])
    schedule.reorder(tile, g_block, i_block, i, g)
    if vector.by_lane:
        schedule.unroll(g)
    else:
        vectorise(schedule, g, math.gcd(knobs.vc // WORD, vector.lanes))
    schedule.unroll(i)
    if at is None:
        schedule.parallel(tile)
    if not block.window:
        return
    made = schedule.get_sblock("made")
    schedule.compute_at(made, i_block, preserve_unit_loops=True)
    schedule.set_scope(made, 0, "local")
    i, c = schedule.get_loops(made)[-2:]
    lanes = math.gcd(knobs.vc, 2 * vector.lanes if not vector.by_lane else CHANNELS)
    lanes = CHANNELS if vector.way == SMULL else lanes
    for number in (0,) if block.source else (0, 1):
        half = schedule.get_sblock(f"dsum{number}")
        schedule.compute_at(half, i, preserve_unit_loops=True)
        schedule.set_scope(half, 0, "local")
        vectorise(schedule, schedule.get_loops(half)[-1], lanes)
    schedule.unroll(i)
    vectorise(schedule, c, lanes)
