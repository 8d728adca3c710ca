"""A pointwise convolution and the stage before it: a depthwise convolution, or a plain copy.

A pointwise convolution is a matrix product, out[p, n] = sum over k of D[p, k] * W[k, n], for P
pixels, K input channels and N output channels. A tile of `mr` pixels x `nr` channels is summed in
registers. The larger the tile, the fewer loads per multiply-add: (mr + nr) / (2 * mr * nr) load
pairs with NEON's four lanes. Both operands are stored in the order in which the tile reads them:

    W   [N/nr, K, nr]       packed when the network is compiled
    D   [P/mr, K, mr']      if one lane of a register can be a factor (NEON): mr adjacent pixels,
                            rounded up to whole registers
        [P/mr, mr, K]       if a factor is broadcast from memory (AVX)

Only this product reads D. The stage before writes it in this order: either all of it (two kernels)
or, fused, a few tiles at a time into the cache, which saves a round trip of the whole tensor to
memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import te
from tvm.s_tir import Schedule

from compile.kernels.base import (
    INITIAL_VALUES,
    OUT_STRIDE,
    PREFETCH_STEP,
    SINK_LOADS,
    Kernel,
    Tensor,
    activate,
    start_in_registers,
    vectorize_loop,
)
from compile.target.vector_unit import Vector

BIASES = {"sum": "B", "dsum": "DB"}


@dataclass(frozen=True)
class Block:
    """The geometry of a workload: [depthwise,] then pointwise."""

    height: int
    """Height of the output."""
    width: int
    """Width of the output."""
    channels: int
    """K, input channels."""
    outputs: int
    """N, output channels."""
    window: int = 0
    """Side of the depthwise window; 0: no depthwise convolution."""
    stride: int = 1
    in_shape: tuple[int, int] = (0, 0)
    """Height and width of the input in memory, border of zeros included."""
    out_stride: int = 0
    """Numbers from one output row to the next."""
    middle_limit: float | None = 6.0
    """Activation after the depthwise convolution."""
    limit: float | None = 6.0
    """Activation at the end."""
    residual_stride: int = 0
    """Numbers from one row of the residual to the next; 0: no residual."""
    dtype: str = "float32"
    input_dtype: str = ""
    """Data type of the input, if it differs from `dtype`."""


@dataclass(frozen=True)
class BlockConfig:
    """The schedule of a block. The field names are keys of the tuning records."""

    mr: int
    """Pixels per register tile."""
    nr: int
    """Channels per register tile."""
    fused: bool = True
    tiles: int = 1
    """Fused: pixel tiles per task. Else: channel blocks per task of the pointwise kernel."""
    channels_outside: bool = True
    """The loop over channel blocks is outside the loop over pixel tiles."""
    unroll: int = 8
    """Unrolled steps of k."""
    tw: int = 7
    """Depthwise: pixels per register tile."""
    vc: int = 8
    """Depthwise: channels per register tile."""
    strassen: bool = False
    """Compute seven products of quarters (kernels/strassen.py)."""
    late: bool = False
    """Load registers just before their use (compile/passes/sink_loads.py)."""


def valid(block: Block, config: BlockConfig, vector: Vector) -> bool:
    """Whether the tiles of `config` divide the geometry and fit the registers."""
    pixels = block.height * block.width
    fits = (
        pixels % config.mr == 0
        and (block.width % config.mr == 0 or config.mr % block.width == 0)
        and block.outputs % config.nr == 0
        and config.nr % vector.lanes == 0
        and block.channels % config.vc == 0
        and config.vc % vector.lanes == 0
        and config.mr % config.tw == 0
        and (config.tw <= block.width or config.tw % block.width == 0)
        and block.channels % config.unroll == 0
    )
    if not config.fused:
        return fits and block.outputs // config.nr % config.tiles == 0
    row = max(block.width // config.mr, 1)
    # A task is one or more rows of tiles, or an equal part of one row.
    whole = config.tiles % row == 0 or row % config.tiles == 0
    return fits and whole and pixels // config.mr % config.tiles == 0


def kernels(name: str, block: Block, config: BlockConfig, vector: Vector) -> list[Kernel]:
    """Return one fused kernel or two.

    These are (A, DW, DB, W, B, [R], O), or (A, [DW, DB], D) and (D, W, B, [R], O).
    A is the input with its border, DW [window, window, K] and DB [K] are the depthwise weights and
    bias, W as above, B [N], R the residual.
    """
    front = _front(block, config, vector)
    if config.fused:
        arguments, middle = front
        more, out = _pointwise(block, config, vector, middle)
        schedule = _schedule([*arguments, *more, out], block, config)
        tile = _schedule_pointwise(schedule, config, vector, fused=True)
        schedule_front(schedule, block, config, vector, at=tile)
        tasks = block.height * block.width // config.mr // config.tiles
        return [Kernel(name, schedule.mod["main"], tasks)]
    arguments, middle = front
    schedule = Schedule(te.create_prim_func([*arguments, middle]).with_attr(INITIAL_VALUES, BIASES))
    tasks = schedule_front(schedule, block, config, vector, at=None)
    first = Kernel(f"{name}_front", schedule.mod["main"], tasks)
    more, out = _pointwise(block, config, vector, te.placeholder(middle.shape, block.dtype, "D"))
    schedule = _schedule([*more, out], block, config)
    _schedule_pointwise(schedule, config, vector, fused=False)
    function = schedule.mod["main"].with_attr(PREFETCH_STEP, weights_per_step(config, vector))
    tasks = block.outputs // config.nr // config.tiles
    return [first, Kernel(f"{name}_pointwise", function, tasks)]


def weights_per_step(config: BlockConfig, vector: Vector) -> int:
    """Return the weights that one iteration of the loop over k uses, for PREFETCH_STEP.

    0 where prefetching does not pay: ARM cores are judged by their instruction count and prefetch
    in hardware.
    """
    return config.nr * config.unroll if config.channels_outside and not vector.by_lane else 0


def middle_shape(block: Block, config: BlockConfig, vector: Vector) -> tuple[int, int, int]:
    """Return the shape of D."""
    tiles = block.height * block.width // config.mr
    if vector.by_lane:
        return tiles, block.channels, _padded(config.mr, vector)
    return tiles, config.mr, block.channels


def _padded(mr: int, vector: Vector) -> int:
    return -(-mr // vector.lanes) * vector.lanes


def _front(block: Block, config: BlockConfig, vector: Vector) -> tuple[list[Tensor], Tensor]:
    """Return the arguments of the first stage, and D."""
    (tiles, _, _), mr, dtype = middle_shape(block, config, vector), config.mr, block.dtype
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
    block: Block, config: BlockConfig, vector: Vector, middle: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Return the further arguments (D first, unless it is computed), and the output."""
    k_size, n_size, nr, dtype = block.channels, block.outputs, config.nr, block.dtype
    w = te.placeholder((n_size // nr, k_size, nr), dtype, "W")
    bias = te.placeholder((n_size,), dtype, "B")
    k = te.reduce_axis((0, k_size), "k")
    shape = (block.height * block.width // config.mr, config.mr, n_size)

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
        value = sums[flat // config.mr, flat % config.mr, n]
        if residual is not None:
            value = value + residual[y, x, n]
        return activate(value, block.limit, dtype)

    if not isinstance(middle.op, te.ComputeOp):
        arguments = [middle, *arguments]
    return arguments, te.compute(out_shape, final, "O")


def _schedule(arguments: list[Tensor], block: Block, config: BlockConfig) -> Schedule:
    function = te.create_prim_func(arguments)
    stride = block.out_stride or block.width * block.outputs
    attributes = {OUT_STRIDE: stride, INITIAL_VALUES: BIASES, SINK_LOADS: config.late}
    return Schedule(function.with_attrs(attributes))


def _schedule_pointwise(
    schedule: Schedule, config: BlockConfig, vector: Vector, *, fused: bool
) -> Any:
    """Schedule the matrix product; return the loop over tasks."""
    out = schedule.get_sblock("O")
    y, x, n = schedule.get_loops(out)
    tile, pixel = schedule.split(schedule.fuse(y, x), [None, config.mr])
    block, channel = schedule.split(n, [None, config.nr])
    if fused:
        task, tile = schedule.split(tile, [None, config.tiles])
    else:
        task, block = schedule.split(block, [None, config.tiles])
    order = (block, tile) if config.channels_outside else (tile, block)
    schedule.reorder(task, *order, pixel, channel)
    schedule.parallel(task)
    vectorize_loop(schedule, channel, vector.lanes)
    schedule.unroll(pixel)

    schedule_sums(schedule, order[1], config, vector)
    return task


def schedule_sums(schedule: Schedule, at: Any, config: BlockConfig, vector: Vector) -> None:
    """Schedule the block "sum", mr x nr sums over k in registers, inside the loop `at`."""
    sums = schedule.get_sblock("sum")
    schedule.compute_at(sums, at, preserve_unit_loops=True)
    schedule.set_scope(sums, 0, "local")
    _, i, n, k = schedule.get_loops(sums)[-4:]
    steps, step = schedule.split(k, [None, config.unroll])
    schedule.reorder(steps, step, i, n)
    if vector.by_lane:
        lanes = schedule.cache_read(sums, 0, "local")
        schedule.compute_at(lanes, steps, preserve_unit_loops=True)
        read = schedule.fuse(*schedule.get_loops(lanes)[-2:])
        vectorize_loop(schedule, read, vector.lanes)
    schedule.unroll(step)
    schedule.unroll(i)
    vectorize_loop(schedule, n, vector.lanes)
    start = schedule.decompose_reduction(sums, steps)
    start_in_registers(schedule, start, vector)


def schedule_front(
    schedule: Schedule, block: Block, config: BlockConfig, vector: Vector, *, at: Any
) -> int:
    """Schedule the blocks that compute D, inside the loop `at` or (None) as separate tasks."""
    middle = schedule.get_sblock("D")
    if at is not None:
        schedule.compute_at(middle, at, preserve_unit_loops=True)
    tile, first, second = schedule.get_loops(middle)[-3:]
    c, i = (first, second) if vector.by_lane else (second, first)
    c_block, c = schedule.split(c, [None, config.vc])
    i_block, i = schedule.split(i, [None, config.tw])
    schedule.reorder(tile, c_block, i_block, i, c)
    vectorize_loop(schedule, c, vector.lanes)
    schedule.unroll(i)
    tasks = block.height * block.width // config.mr
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
        vectorize_loop(schedule, c, vector.lanes)
        start = schedule.decompose_reduction(sums, y)
        start_in_registers(schedule, start, vector)
    return tasks
