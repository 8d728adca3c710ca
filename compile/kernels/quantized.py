"""A depthwise and a pointwise convolution on bytes: the int8 form of separable.py.

An activation is real = scale[channel] * (byte - zero), with a signed byte and the scale and zero of
its tensor (compile/quantization/calibrate.py). Both convolutions sum exact products of bytes:

    depthwise   two sums in int16, of every other tap each; their average times a 15-bit factor,
                plus an offset, shifted into a byte
                (if the input is float32, the output of the first layer: one sum in float32, rounded
                to the nearest byte)
    pointwise   one sum in int32, starting from a bias, plus the residual times its weight; times a
                31-bit factor, rounded to a byte

Four bytes of adjacent input channels form one int32 ("word"), so K is a quarter as long. CPUs have
instructions for dot products of words (kernels/instructions.py):

    SDOT        W [N/nr, K/4, nr], D [P/mr, K/4, mr]: as in separable.py, four lanes of int32
    VNNI        W as above, D [P/mr, mr, K/4] with unsigned bytes (128 larger)
    SMULL       W [N/nr, K/(16 m), nr, 4 m], D [P/mr, mr, K/4]: no word can be broadcast to a whole
                register, so each sum is spread over four lanes and added up at the end; m registers
                of each side are multiplied into 16 bits before the products are widened
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from typing import Any

from tvm import te, tirx
from tvm.s_tir import Schedule

from compile.kernels.base import INITIAL_VALUES, OUT_STRIDE, Kernel, Tensor, vectorize_loop
from compile.kernels.instructions import (
    DOT_PRODUCT_KIND,
    average,
    dot,
    horizontal_add,
    multiply_high,
    requantize,
    round_to_int8,
    saturate_int8,
    saturating_add,
    word,
)
from compile.kernels.separable import Block, BlockConfig, schedule_sums
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


def kernels(name: str, block: Block, config: BlockConfig, vector: Vector) -> list[Kernel]:
    """Return one fused kernel, (A, [DW, DM, DB, DS or DW, DB], W, B, F, [R, G], O), or two.

    Of two kernels the first writes D and the second reads it. DW int8 [window, window, K], DM, DB
    and DS int16 [K] are the depthwise weights, factors, offsets and shifts; W int32 as above; B and
    F int32 [N]; R int8 is the residual, G int32 [N] its weights.
    """
    arguments, middle = _front(block, config, vector)
    if config.fused:
        more, out = _pointwise(block, config, vector, middle)
        schedule = _schedule([*arguments, *more, out], block, vector)
        task = _schedule_pointwise(schedule, block, config, vector)
        _schedule_front(schedule, block, config, vector, at=task)
        tasks = block.height * block.width // config.mr // config.tiles
        return [Kernel(name, schedule.mod["main"], tasks)]
    function = te.create_prim_func([*arguments, middle]).with_attr(
        DOT_PRODUCT_KIND, vector.dot_product_kind
    )
    schedule = Schedule(function)
    _schedule_front(schedule, block, config, vector, at=None)
    tasks = block.height * block.width // config.mr
    first = Kernel(f"{name}_front", schedule.mod["main"], tasks)
    more, out = _pointwise(block, config, vector, te.placeholder(middle.shape, "int32", "D"))
    schedule = _schedule([*more, out], block, vector)
    _schedule_pointwise(schedule, block, config, vector)
    tasks = block.outputs // group(config, vector) // config.tiles
    return [first, Kernel(f"{name}_pointwise", schedule.mod["main"], tasks)]


def _front(block: Block, config: BlockConfig, vector: Vector) -> tuple[list[Tensor], Tensor]:
    mr, channels = config.mr, block.channels
    tiles, words = block.height * block.width // mr, channels // WORD
    a = te.placeholder((*block.in_shape, channels), block.input_dtype or "int8", "A")
    arguments = [a]

    high, wide = tile_of(block, mr)

    def at(tile: Any, pixel: Any, c: Any, y: int = 0, x: int = 0) -> Any:
        a_row = block.width // wide
        row = tile // a_row * high + pixel // wide
        column = tile % a_row * wide + pixel % wide
        return a[row * block.stride + y, column * block.stride + x, c]

    converted = None
    if block.input_dtype:
        weights = te.placeholder((block.window, block.window, channels), block.input_dtype, "DW")
        bias = te.placeholder((channels,), block.input_dtype, "DB")
        arguments += [weights, bias]

        def whole(t: Any, i: Any, c: Any) -> Any:
            taps = itertools.product(range(block.window), repeat=2)
            products = [at(t, i, c, y, x) * weights[y, x, c] for y, x in taps]
            return functools.reduce(operator.add, products, bias[c])

        sums = te.compute((tiles, mr, channels), whole, "dsum0")
        converted = te.compute(
            (tiles, mr, channels), lambda t, i, c: round_to_int8(sums[t, i, c]), "converted"
        )
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
            both = average(halves[0][t, i, c], halves[1][t, i, c])
            return saturate_int8(
                saturating_add(multiply_high(both, factor[c]), offset[c]) >> shift[c]
            )

        converted = te.compute((tiles, mr, channels), small, "converted")

    def packed(t: Any, i: Any, g: Any) -> Any:
        channels = [g * WORD + number for number in range(WORD)]
        value = word([at(t, i, c) if converted is None else converted[t, i, c] for c in channels])
        if vector.dot_product_kind in (VNNI, PLAIN):
            value = value ^ tirx.const(
                -0x7F7F7F80, "int32"
            )  # adds 128 to each byte, which makes it unsigned
        return value

    if vector.by_lane:
        shape = (tiles, words, mr)
        return arguments, te.compute(shape, lambda t, g, i: packed(t, i, g), "D")
    return arguments, te.compute((tiles, mr, words), packed, "D")


def _pointwise(
    block: Block, config: BlockConfig, vector: Vector, middle: Tensor
) -> tuple[list[Tensor], Tensor]:
    outputs, nr, m = block.outputs, config.nr, chain(block, vector)
    high, columns = tile_of(block, config.mr)
    steps = block.channels // step(block, vector)
    bias = te.placeholder((outputs,), "int32", "B")
    factor = te.placeholder((outputs,), "int32", "F")
    k = te.reduce_axis((0, steps), "k")
    shape = (block.height * block.width // config.mr, config.mr, outputs)
    if vector.dot_product_kind == SMULL:
        w = te.placeholder((outputs // nr, steps, nr, WORD * m), "int32", "W")

        def lanes(t: Any, i: Any, n: Any, j: Any) -> Any:
            pairs = [
                (middle[t, i, (k * m + p) * WORD + j], w[n // nr, k, n % nr, p * WORD + j])
                for p in range(m)
            ]
            return te.sum(dot(pairs), axis=k)

        parts = te.compute((*shape, WORD), lanes, "sum")
        sums = te.compute(
            shape,
            lambda t, i, n: horizontal_add([parts[t, i, n, j] for j in range(WORD)]) + bias[n],
            "all",
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
        return requantize(value, factor[n])

    if not isinstance(middle.op, te.ComputeOp):
        arguments = [middle, *arguments]
    return arguments, te.compute((block.height, block.width, outputs), final, "O")


def _schedule(arguments: list[Tensor], block: Block, vector: Vector) -> Schedule:
    stride = block.out_stride or block.width * block.outputs
    starts = {} if vector.dot_product_kind == SMULL else {"sum": "B"}
    function = te.create_prim_func(arguments)
    return Schedule(
        function.with_attrs(
            {OUT_STRIDE: stride, INITIAL_VALUES: starts, DOT_PRODUCT_KIND: vector.dot_product_kind}
        )
    )


def _schedule_pointwise(
    schedule: Schedule, shape: Block, config: BlockConfig, vector: Vector
) -> Any:
    """Schedule the matrix product; return the loop over tasks."""
    wide = group(config, vector)
    high, columns = tile_of(shape, config.mr)
    y, x, n = schedule.get_loops(schedule.get_sblock("O"))
    (y, row), (x, column) = schedule.split(y, [None, high]), schedule.split(x, [None, columns])
    block, channel = schedule.split(n, [None, wide])
    schedule.reorder(y, x, row, column, block, channel)
    tile, pixel = schedule.fuse(y, x), schedule.fuse(row, column)
    if config.fused:
        task, tile = schedule.split(tile, [None, config.tiles])
    else:
        task, block = schedule.split(block, [None, config.tiles])
    order = (block, tile) if config.channels_outside else (tile, block)
    schedule.reorder(task, *order, pixel, channel)
    schedule.parallel(task)
    vectorize_loop(schedule, channel, math.gcd(wide, CHANNELS))
    schedule.unroll(pixel)
    if vector.dot_product_kind == SMULL:
        _schedule_lanes(schedule, order[1], config)
    else:
        schedule_sums(schedule, order[1], config, vector)
    return task


def _schedule_lanes(schedule: Schedule, at: Any, config: BlockConfig) -> None:
    """Schedule "sum", whose four lanes the block "all" adds up, for nr channels at a time."""
    whole = schedule.get_sblock("all")
    schedule.compute_at(whole, at, preserve_unit_loops=True)
    schedule.set_scope(whole, 0, "local")
    i, n = schedule.get_loops(whole)[-2:]
    n_tile, n = schedule.split(n, [None, config.nr])
    schedule.reorder(n_tile, i, n)
    schedule.unroll(i)
    vectorize_loop(schedule, n, WORD)
    sums = schedule.get_sblock("sum")
    schedule.compute_at(sums, n_tile, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    i, n, j, k = schedule.get_loops(sums)[-4:]
    steps, one = schedule.split(k, [None, config.unroll])
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
    schedule: Schedule, block: Block, config: BlockConfig, vector: Vector, *, at: Any
) -> None:
    """Schedule the blocks that compute D, inside the loop `at` or (None) as separate tasks."""
    middle = schedule.get_sblock("D")
    if at is not None:
        schedule.compute_at(middle, at, preserve_unit_loops=True)
    tile, first, second = schedule.get_loops(middle)[-3:]
    g, i = (first, second) if vector.by_lane else (second, first)
    g_block, g = schedule.split(g, [None, config.vc // WORD])
    i_block, i = schedule.split(i, [None, config.tw])
    schedule.reorder(tile, g_block, i_block, i, g)
    if vector.by_lane:
        schedule.unroll(g)
    else:
        vectorize_loop(schedule, g, math.gcd(config.vc // WORD, vector.lanes))
    schedule.unroll(i)
    if at is None:
        schedule.parallel(tile)
    if not block.window:
        return
    converted = schedule.get_sblock("converted")
    schedule.compute_at(converted, i_block, preserve_unit_loops=True)
    schedule.set_scope(converted, 0, "local")
    i, c = schedule.get_loops(converted)[-2:]
    lanes = math.gcd(config.vc, 2 * vector.lanes if not vector.by_lane else CHANNELS)
    lanes = CHANNELS if vector.dot_product_kind == SMULL else lanes
    for number in (0,) if block.input_dtype else (0, 1):
        half = schedule.get_sblock(f"dsum{number}")
        schedule.compute_at(half, i, preserve_unit_loops=True)
        schedule.set_scope(half, 0, "local")
        vectorize_loop(schedule, schedule.get_loops(half)[-1], lanes)
    schedule.unroll(i)
    vectorize_loop(schedule, c, lanes)
