"""A pointwise convolution with seven products instead of eight.

Strassen's algorithm (1969) in Winograd's form computes the matrix product out = D W (pixels x K
times K x N) in quarters: seven products of half the size in each dimension, and fifteen sums.

    S1 = D21 + D22    S2 = S1 - D11    S3 = D11 - D21    S4 = D12 - S2
    T1 = W12 - W11    T2 = W22 - T1    T3 = W22 - W12    T4 = T2 - W21

    P1 = D11 W11   P2 = D12 W21   P3 = S4 W22   P4 = D22 T4   P5 = S1 T1   P6 = S2 T2   P7 = S3 T3

    out11 = P1 + P2             out12 = P1 + P6 + P5 + P3
    out21 = P1 + P6 + P7 - P4   out22 = P1 + P6 + P7 + P5

The sums of the weights are computed once, when a network is opened. Where K and N are a few
hundred, the other sums cost far less than the product that they save. Rounding errors grow a
little; the verification compares the bits.

D is stored as in separable.py, in four quarters D21, D22, D11, D12, followed by S1 to S4. The last
seven of these eight are the left sides of P4, P1, P2, P5, P6, P7, P3.
"""

from __future__ import annotations

from typing import Any

from tvm import te
from tvm.s_tir import Schedule
from tvm.script import tirx as T  # noqa: N812

from compile.kernels.base import (
    INITIAL_VALUES,
    OUT_STRIDE,
    PREFETCH_STEP,
    SINK_LOADS,
    Kernel,
    activate,
    vectorize_loop,
)
from compile.kernels.separable import (
    Block,
    BlockConfig,
    schedule_front,
    schedule_sums,
    weights_per_step,
)
from compile.target.vector_unit import Vector

LEFTS, RIGHTS, PRODUCTS = 8, 7, 7


def valid(block: Block, config: BlockConfig, vector: Vector) -> bool:
    """Whether the block can be cut into quarters that the tiles of `config` divide."""
    return (
        not config.fused
        and bool(block.window)
        and not block.residual_stride
        and block.dtype in ("float32", "float16")
        and block.height % 2 == 0
        and (block.height // 2 * block.width) % config.mr == 0
        and block.channels % (2 * config.vc) == 0
        and block.channels % (2 * config.unroll) == 0
        and block.outputs % (2 * config.nr) == 0
        and (block.outputs // 2 // config.nr) % config.tiles == 0
        and block.outputs // 2 % vector.lanes == 0
    )


def left_shape(block: Block, config: BlockConfig, vector: Vector) -> tuple[int, int, int]:
    """Return the shape of one of the eight left sides: tiles, then as `separable.middle_shape`."""
    tiles, half = block.height // 2 * block.width // config.mr, block.channels // 2
    return (tiles, half, config.mr) if vector.by_lane else (tiles, config.mr, half)


def kernels(name: str, block: Block, config: BlockConfig, vector: Vector) -> list[Kernel]:
    """Return four kernels.

    (A, DW, DB, D [2, 2, ...]), (D [4, n], S [4, n]), (left sides [7, ...], W7, P), (P, B, O). W7
    are the seven right sides that `prepare` computes.
    """
    return [
        _front(f"{name}_front", block, config, vector),
        _operands(f"{name}_operands", block, vector),
        _products(f"{name}_products", block, config, vector),
        _combine(f"{name}_combine", block, vector),
    ]


def _front(name: str, block: Block, config: BlockConfig, vector: Vector) -> Kernel:
    tiles, mr, half = left_shape(block, config, vector)[0], config.mr, block.channels // 2
    a = te.placeholder((*block.in_shape, block.channels), block.dtype, "A")
    weights = te.placeholder((block.window, block.window, 2, half), block.dtype, "DW")
    bias = te.placeholder((2, half), block.dtype, "DB")
    y = te.reduce_axis((0, block.window), "y")
    x = te.reduce_axis((0, block.window), "x")

    def tap(upper: Any, right: Any, tile: Any, pixel: Any, c: Any) -> Any:
        flat = (1 - upper) * (tiles * mr) + tile * mr + pixel
        row, column = flat // block.width * block.stride, flat % block.width * block.stride
        value = a[row + y, column + x, right * half + c]
        return te.sum(value * weights[y, x, right, c], axis=[y, x])

    sums = te.compute((2, 2, tiles, mr, half), tap, "dsum")

    def value(upper: Any, right: Any, tile: Any, pixel: Any, c: Any) -> Any:
        return activate(sums[upper, right, tile, pixel, c], block.middle_limit, block.dtype)

    if vector.by_lane:
        middle = te.compute(
            (2, 2, tiles, half, mr), lambda u, r, t, c, i: value(u, r, t, i, c), "D"
        )
    else:
        middle = te.compute((2, 2, tiles, mr, half), value, "D")
    function = te.create_prim_func([a, weights, bias, middle])
    schedule = Schedule(function.with_attr(INITIAL_VALUES, {"dsum": "DB 1 4"}))
    upper, right, tile = schedule.get_loops(schedule.get_sblock("D"))[:3]
    schedule.fuse(upper, right, tile)
    schedule_front(schedule, block, config, vector, at=None)
    return Kernel(name, schedule.mod["main"], 4 * tiles)


def _operands(name: str, block: Block, vector: Vector) -> Kernel:
    count = block.height // 2 * block.width * (block.channels // 2)

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]
    def operands(d: T.handle, s: T.handle) -> None:
        D = T.match_buffer(d, (4, count), block.dtype)  # noqa: N806
        S = T.match_buffer(s, (4, count), block.dtype)  # noqa: N806
        for i in range(count):
            with T.sblock("S"):
                v = T.axis.spatial(count, i)
                S[0, v] = D[0, v] + D[1, v]
                S[1, v] = D[0, v] + D[1, v] - D[2, v]
                S[2, v] = D[2, v] - D[0, v]
                S[3, v] = D[3, v] - (D[0, v] + D[1, v] - D[2, v])

    return _sweep(name, operands, "S", count, vector)


def prepare(name: str, block: Block, vector: Vector) -> Kernel:
    """Return the kernel (W11, W12, W21, W22 [4, n], T4, W11, W21, T1, T2, T3, W22 [7, n])."""
    count = block.channels // 2 * (block.outputs // 2)

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]
    def rights(w: T.handle, t: T.handle) -> None:
        W = T.match_buffer(w, (4, count), block.dtype)  # noqa: N806
        R = T.match_buffer(t, (7, count), block.dtype)  # noqa: N806
        for i in range(count):
            with T.sblock("R"):
                v = T.axis.spatial(count, i)
                R[0, v] = W[3, v] - (W[1, v] - W[0, v]) - W[2, v]
                R[1, v] = W[0, v]
                R[2, v] = W[2, v]
                R[3, v] = W[1, v] - W[0, v]
                R[4, v] = W[3, v] - (W[1, v] - W[0, v])
                R[5, v] = W[3, v] - W[1, v]
                R[6, v] = W[3, v]

    return _sweep(name, rights, "R", count, vector)


def _sweep(name: str, function: Any, what: str, count: int, vector: Vector) -> Kernel:
    """Schedule a pass over `count` numbers, one register at a time, in up to 16 tasks."""
    schedule = Schedule(function)
    (loop,) = schedule.get_loops(schedule.get_sblock(what))
    tasks = next(n for n in (16, 8, 4, 2, 1) if count % (n * vector.lanes) == 0)
    task, _, inner = schedule.split(loop, [tasks, None, vector.lanes])
    schedule.parallel(task)
    schedule.vectorize(inner)
    return Kernel(name, schedule.mod["main"], tasks)


def _products(name: str, block: Block, config: BlockConfig, vector: Vector) -> Kernel:
    shape, nr = left_shape(block, config, vector), config.nr
    half, outputs = block.channels // 2, block.outputs // 2
    left = te.placeholder((PRODUCTS, *shape), block.dtype, "D")
    right = te.placeholder((PRODUCTS, outputs // nr, half, nr), block.dtype, "W")
    k = te.reduce_axis((0, half), "k")

    def product(which: Any, t: Any, i: Any, n: Any) -> Any:
        factor = left[which, t, k, i] if vector.by_lane else left[which, t, i, k]
        return te.sum(factor * right[which, n // nr, k, n % nr], axis=k)

    sums = te.compute((PRODUCTS, shape[0], config.mr, outputs), product, "sum")
    out = te.compute(
        (PRODUCTS, shape[0] * config.mr, outputs),
        lambda which, p, n: sums[which, p // config.mr, p % config.mr, n],
        "P",
    )
    function = te.create_prim_func([left, right, out]).with_attr(SINK_LOADS, config.late)
    schedule = Schedule(function)
    which, p, n = schedule.get_loops(schedule.get_sblock("P"))
    tile, pixel = schedule.split(p, [None, config.mr])
    blocks, channel = schedule.split(n, [None, nr])
    task, blocks = schedule.split(blocks, [None, config.tiles])
    order = (blocks, tile) if config.channels_outside else (tile, blocks)
    schedule.reorder(which, task, *order, pixel, channel)
    schedule.parallel(schedule.fuse(which, task))
    vectorize_loop(schedule, channel, vector.lanes)
    schedule.unroll(pixel)
    schedule_sums(schedule, order[1], config, vector)
    function = schedule.mod["main"].with_attr(PREFETCH_STEP, weights_per_step(config, vector))
    return Kernel(name, function, PRODUCTS * (outputs // nr // config.tiles))


def _combine(name: str, block: Block, vector: Vector) -> Kernel:
    high, wide, n_half = block.height // 2, block.width, block.outputs // 2
    dtype, limit = block.dtype, block.limit

    def finish(value: Any) -> Any:
        return activate(value, limit, dtype)

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]
    def combine(p: T.handle, b: T.handle, o: T.handle) -> None:
        P = T.match_buffer(p, (7, high, wide, n_half), dtype)  # noqa: N806
        B = T.match_buffer(b, (2, n_half), dtype)  # noqa: N806
        O = T.match_buffer(o, (2 * high, wide, 2 * n_half), dtype)  # noqa: E741, N806
        for i, j, k in T.grid(high, wide, n_half):
            with T.sblock("O"):
                y, x, n = T.axis.remap("SSS", [i, j, k])
                O[y, x, n] = finish(P[1, y, x, n] + P[2, y, x, n] + B[0, n])
                O[y, x, n + n_half] = finish(
                    P[1, y, x, n] + P[4, y, x, n] + P[3, y, x, n] + P[6, y, x, n] + B[1, n]
                )
                O[y + high, x, n] = finish(
                    P[1, y, x, n] + P[4, y, x, n] + P[5, y, x, n] - P[0, y, x, n] + B[0, n]
                )
                O[y + high, x, n + n_half] = finish(
                    P[1, y, x, n] + P[4, y, x, n] + P[5, y, x, n] + P[3, y, x, n] + B[1, n]
                )

    schedule = Schedule(combine.with_attr(OUT_STRIDE, block.out_stride))
    i, _, k = schedule.get_loops(schedule.get_sblock("O"))
    schedule.parallel(i)
    vectorize_loop(schedule, k, vector.lanes)
    return Kernel(name, schedule.mod["main"], high)
