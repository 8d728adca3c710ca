"""A pointwise convolution and the stage that feeds it: depthwise, or a plain copy.

A pointwise convolution is a matrix product, out[p, n] = sum over k of D[p, k] * W[k, n], for P
pixels, K input and N output channels. `mr` pixels x `nr` channels are summed in registers; the
larger that tile, the fewer loads a multiply-add needs: (mr + nr) / (2 * mr * nr) load pairs with
NEON's four lanes. Both operands are laid out in the order in which the tile reads them:

    W   [N/nr, K, nr]       packed when the network is compiled
    D   [P/mr, K, mr']      where one lane of a register can be a factor (NEON): mr pixels side by
                            side, rounded up to whole registers
        [P/mr, mr, K]       where a factor is broadcast from memory (AVX)

D is never an activation in memory that somebody else reads: the stage before writes it in this
order, either all of it (two kernels) or, fused, a few tiles at a time into the cache, which saves
the round trip of the whole tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import te
from tvm.s_tir import Schedule

from compile.kernels.base import (
    AHEAD,
    LATE,
    OUT_STRIDE,
    STARTS,
    Kernel,
    activate,
    start_in_registers,
    vectorise,
)
from compile.target.vector_unit import Vector

Tensor = te.Tensor
BIASES = {"sum": "B", "dsum": "DB"}


@dataclass(frozen=True)
class Block:
    """The geometry of one block: [depthwise], then pointwise."""

    height: int
    """Of the output, as are the width and the strides of rows in numbers."""
    width: int
    channels: int
    """K."""
    outputs: int
    """N."""
    window: int = 0
    """Side of the depthwise window; 0: there is no depthwise convolution."""
    stride: int = 1
    in_shape: tuple[int, int] = (0, 0)
    """Height and width of the input with its border of zeros (as it lies in memory)."""
    out_stride: int = 0
    """Numbers from one output row to the next."""
    middle_limit: float | None = 6.0
    """Activation after the depthwise convolution."""
    limit: float | None = 6.0
    """Activation at the end."""
    residual_stride: int = 0
    """Numbers from one row to the next of a tensor that is added at the end; 0: none is."""
    dtype: str = "float32"
    source: str = ""
    """The type of the input, where it is another one."""


@dataclass(frozen=True)
class ScheduleConfig:
    """What the search chooses."""

    mr: int
    nr: int
    fused: bool = True
    tiles: int = 1
    """Fused: pixel tiles a task. Else: channel blocks a task of the pointwise kernel."""
    channels_outside: bool = True
    """The loop over channel blocks runs outside the one over pixel tiles."""
    unroll: int = 8
    """Steps of k unrolled."""
    tw: int = 7
    """Depthwise: pixels whose sums are in registers at a time."""
    vc: int = 8
    """Depthwise: channels likewise."""
    strassen: bool = False
    """Seven products of quarters (kernels/strassen.py)."""
    late: bool = False
    """Copies into registers just before their use (compile/passes/sink_loads.py)."""


def valid(block: Block, knobs: ScheduleConfig, vector: Vector) -> bool:
    """Whether `knobs` fit the geometry (tiles divide it) and the registers."""
    pixels = block.height * block.width
    fits = (
        pixels % knobs.mr == 0
        and (block.width % knobs.mr == 0 or knobs.mr % block.width == 0)
        and block.outputs % knobs.nr == 0
        and knobs.nr % vector.lanes == 0
        and block.channels % knobs.vc == 0
        and knobs.vc % vector.lanes == 0
        and knobs.mr % knobs.tw == 0
        and (knobs.tw <= block.width or knobs.tw % block.width == 0)
        and block.channels % knobs.unroll == 0
    )
    if not knobs.fused:
        return fits and block.outputs // knobs.nr % knobs.tiles == 0
    row = max(block.width // knobs.mr, 1)  # tiles a row: a task is whole rows, or a share of one
    whole = knobs.tiles % row == 0 or row % knobs.tiles == 0
    return fits and whole and pixels // knobs.mr % knobs.tiles == 0


def kernels(name: str, block: Block, knobs: ScheduleConfig, vector: Vector) -> list[Kernel]:
    """One fused kernel, (A, DW, DB, W, B, [R], O), or two: (A, [DW, DB], D) and (D, W, B, [R], O).

    A is the input with its border, DW [window, window, K] and DB [K] the depthwise weights and
    bias, W as above, B [N], R the residual.
    """
    front = _front(block, knobs, vector)
    if knobs.fused:
        arguments, middle = front
        more, out = _pointwise(block, knobs, vector, middle)
        schedule = _schedule([*arguments, *more, out], block, knobs)
        tile = _schedule_pointwise(schedule, knobs, vector, fused=True)
        schedule_front(schedule, block, knobs, vector, at=tile)
        tasks = block.height * block.width // knobs.mr // knobs.tiles
        return [Kernel(name, schedule.mod["main"], tasks)]
    arguments, middle = front
    schedule = Schedule(te.create_prim_func([*arguments, middle]).with_attr(STARTS, BIASES))
    tasks = schedule_front(schedule, block, knobs, vector, at=None)
    first = Kernel(f"{name}_front", schedule.mod["main"], tasks)
    more, out = _pointwise(block, knobs, vector, te.placeholder(middle.shape, block.dtype, "D"))
    schedule = _schedule([*more, out], block, knobs)
    _schedule_pointwise(schedule, knobs, vector, fused=False)
    function = schedule.mod["main"].with_attr(AHEAD, weights_a_step(knobs, vector))
    tasks = block.outputs // knobs.nr // knobs.tiles
    return [first, Kernel(f"{name}_pointwise", function, tasks)]


def weights_a_step(knobs: ScheduleConfig, vector: Vector) -> int:
    """How many weights the loop over k uses a turn, for AHEAD: where that pays. The ARM cores are
    judged by instructions, and look ahead themselves."""
    return knobs.nr * knobs.unroll if knobs.channels_outside and not vector.by_lane else 0


def middle_shape(block: Block, knobs: ScheduleConfig, vector: Vector) -> tuple[int, int, int]:
    """The shape of D."""
    tiles = block.height * block.width // knobs.mr
    if vector.by_lane:
        return tiles, block.channels, _padded(knobs.mr, vector)
    return tiles, knobs.mr, block.channels


def _padded(mr: int, vector: Vector) -> int:
    return -(-mr // vector.lanes) * vector.lanes


def _front(block: Block, knobs: ScheduleConfig, vector: Vector) -> tuple[list[Tensor], Tensor]:
    """D out of the input: its arguments and D itself."""
    (tiles, _, _), mr, dtype = middle_shape(block, knobs, vector), knobs.mr, block.dtype
    a = te.placeholder((*block.in_shape, block.channels), dtype, "A")

    def place(tile: Any, pixel: Any) -> tuple[Any, Any]:
        flat = tile * mr + pixel
        return flat // block.width, flat % block.width

    arguments = [a]
    if block.window:
        weights = te.placeholder((block.window, block.window, block.channels), dtype, "DW")
        bias = te.placeholder((block.channels,), dtype, "DB")
        arguments += [weights, bias]
        y = te.reduce_axis((0, block.window), "y")
        x = te.reduce_axis((0, block.window), "x")

        def tap(tile: Any, pixel: Any, c: Any) -> Any:
            row, column = place(tile, pixel)
            value = a[row * block.stride + y, column * block.stride + x, c]
            return te.sum(value * weights[y, x, c], axis=[y, x])

        sums = te.compute((tiles, mr, block.channels), tap, "dsum")

        def value(tile: Any, pixel: Any, c: Any) -> Any:
            return activate(sums[tile, pixel, c], block.middle_limit, dtype)
    else:

        def value(tile: Any, pixel: Any, c: Any) -> Any:
            row, column = place(tile, pixel)
            return a[row, column, c]

    if vector.by_lane:
        shape = (tiles, block.channels, mr)
        return arguments, te.compute(shape, lambda t, c, i: value(t, i, c), "D")
    return arguments, te.compute((tiles, mr, block.channels), value, "D")


def _pointwise(
    block: Block, knobs: ScheduleConfig, vector: Vector, middle: Tensor
) -> tuple[list[Tensor], Tensor]:
    """The output out of D: further arguments (D first unless it was computed), and the output."""
    k_size, n_size, nr, dtype = block.channels, block.outputs, knobs.nr, block.dtype
    w = te.placeholder((n_size // nr, k_size, nr), dtype, "W")
    bias = te.placeholder((n_size,), dtype, "B")
    k = te.reduce_axis((0, k_size), "k")
    shape = (block.height * block.width // knobs.mr, knobs.mr, n_size)

    def product(t: Any, i: Any, n: Any) -> Any:
        factor = middle[t, k, i] if vector.by_lane else middle[t, i, k]
        return te.sum(factor * w[n // nr, k, n % nr], axis=k)

    sums = te.compute(shape, product, "sum")
    out_shape = (block.height, block.width, n_size)
    arguments = [w, bias]
    residual = None
    if block.residual_stride:
        wide = (block.height, block.residual_stride // n_size, n_size)
        residual = te.placeholder(wide, dtype, "R")
        arguments.append(residual)

    def final(y: Any, x: Any, n: Any) -> Any:
        flat = y * block.width + x
        value = sums[flat // knobs.mr, flat % knobs.mr, n]
        if residual is not None:
            value = value + residual[y, x, n]
        return activate(value, block.limit, dtype)

    if not isinstance(middle.op, te.ComputeOp):
        arguments = [middle, *arguments]
    return arguments, te.compute(out_shape, final, "O")


def _schedule(arguments: list[Tensor], block: Block, knobs: ScheduleConfig) -> Schedule:
    function = te.create_prim_func(arguments)
    stride = block.out_stride or block.width * block.outputs
    attributes = {OUT_STRIDE: stride, STARTS: BIASES, LATE: knobs.late}
    return Schedule(function.with_attrs(attributes))


def _schedule_pointwise(
    schedule: Schedule, knobs: ScheduleConfig, vector: Vector, *, fused: bool
) -> Any:
    """Schedule the product; returns the loop over tasks."""
    out = schedule.get_sblock("O")
    y, x, n = schedule.get_loops(out)
    tile, pixel = schedule.split(schedule.fuse(y, x), [None, knobs.mr])
    block, channel = schedule.split(n, [None, knobs.nr])
    if fused:
        task, tile = schedule.split(tile, [None, knobs.tiles])
    else:
        task, block = schedule.split(block, [None, knobs.tiles])
    order = (block, tile) if knobs.channels_outside else (tile, block)
    schedule.reorder(task, *order, pixel, channel)
    schedule.parallel(task)
    vectorise(schedule, channel, vector.lanes)
    schedule.unroll(pixel)

    schedule_sums(schedule, order[1], knobs, vector)
    return task


def schedule_sums(schedule: Schedule, at: Any, knobs: ScheduleConfig, vector: Vector) -> None:
    """Schedule the block "sum", mr x nr products over k, inside the loop `at`, in registers."""
    sums = schedule.get_sblock("sum")
    schedule.compute_at(sums, at, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    _, i, n, k = schedule.get_loops(sums)[-4:]
    steps, step = schedule.split(k, [None, knobs.unroll])
    schedule.reorder(steps, step, i, n)
    if vector.by_lane:
        lanes = schedule.cache_read(sums, 0, "local")
        schedule.compute_at(lanes, steps, preserve_unit_loops=True)
        read = schedule.fuse(*schedule.get_loops(lanes)[-2:])
        vectorise(schedule, read, vector.lanes)
    schedule.unroll(step)
    schedule.unroll(i)
    vectorise(schedule, n, vector.lanes)
    start = schedule.decompose_reduction(sums, steps)
    start_in_registers(schedule, start, vector)


def schedule_front(
    schedule: Schedule, block: Block, knobs: ScheduleConfig, vector: Vector, *, at: Any
) -> int:
    """Schedule what makes D, inside the loop `at` or, without one, as tasks of its own."""
    middle = schedule.get_sblock("D")
    if at is not None:
        schedule.compute_at(middle, at, preserve_unit_loops=True)
    tile, first, second = schedule.get_loops(middle)[-3:]
    c, i = (first, second) if vector.by_lane else (second, first)
    c_block, c = schedule.split(c, [None, knobs.vc])
    i_block, i = schedule.split(i, [None, knobs.tw])
    schedule.reorder(tile, c_block, i_block, i, c)
    vectorise(schedule, c, vector.lanes)
    schedule.unroll(i)
    tasks = block.height * block.width // knobs.mr
    if at is None:
        schedule.parallel(tile)
    if block.window:
        sums = schedule.get_sblock("dsum")
        schedule.compute_at(sums, i_block, preserve_unit_loops=True)
        schedule.set_scope(sums, 0, "local")
        i, c, y, x = schedule.get_loops(sums)[-4:]
        schedule.reorder(y, x, i, c)
        for loop in (y, x, i):
            schedule.unroll(loop)
        vectorise(schedule, c, vector.lanes)
        start = schedule.decompose_reduction(sums, y)
        start_in_registers(schedule, start, vector)
    return tasks
