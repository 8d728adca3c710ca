"""The schedules that fit a workload, ordered by a rule of thumb."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

from compile.codegen.workloads import ScheduleConfig, Shape, vector_of
from compile.kernels import separable, stem, strassen, words
from compile.kernels.separable import Block, BlockConfig
from compile.kernels.stem import Stem, StemConfig
from compile.target.vector_unit import SMULL, Vector

REGISTERS = 32
L1_NUMBERS = 5_000
"""Numbers that stay in a first-level cache while others stream through it."""
LINE_NUMBERS = 16
"""Numbers per cache line."""
LINE_COST = 4
"""Cost of fetching a cache line, in instructions."""
MIN_TASKS = 6
"""Tasks per kernel, at least, if the geometry allows: threads then share them evenly."""
CACHE_NUMBERS = 1 << 16
"""Numbers of D that a fused task may hold (a quarter of a megabyte)."""


@overload
def space(shape: Block, vector: Vector) -> list[BlockConfig]: ...
@overload
def space(shape: Stem, vector: Vector) -> list[StemConfig]: ...
@overload
def space(shape: Shape, vector: Vector) -> list[ScheduleConfig]: ...
def space(shape: Shape, vector: Vector) -> Sequence[ScheduleConfig]:
    """Return every valid schedule for `shape`, the cheapest by the rule of thumb first."""
    vector = vector_of(shape, vector)
    every: Iterator[ScheduleConfig]
    every = _stems(shape, vector) if isinstance(shape, Stem) else _blocks(shape, vector)
    return sorted(every, key=lambda config: rule_of_thumb(shape, config, vector))


def rule_of_thumb(shape: Shape, config: ScheduleConfig, vector: Vector) -> float:
    """Return a rough cost of `config`. It is comparable within one shape only."""
    if isinstance(shape, Stem):
        assert isinstance(config, StemConfig)
        return _stem_cost(config, vector)
    assert isinstance(config, BlockConfig)
    return _cost(shape, config, vector_of(shape, vector))


def decisions(config: ScheduleConfig) -> tuple[object, ...]:
    """Return the independent decisions in `config`. The size of a tile is one decision."""
    if not isinstance(config, BlockConfig):
        return (config.rows, config.tw, config.nr)
    size = config.tiles * (config.mr if config.fused else config.nr)
    return (
        (config.mr, config.nr),
        (config.mr // config.tw, config.vc),
        (config.fused, config.strassen, size),
        config.channels_outside,
        (config.unroll, config.late),
    )


def distance(one: ScheduleConfig, other: ScheduleConfig) -> int:
    """Return the number of decisions in which two schedules differ."""
    return sum(a != b for a, b in zip(decisions(one), decisions(other), strict=True))


def _stems(shape: Stem, vector: Vector) -> Iterator[StemConfig]:
    for rows, tw, vectors in itertools.product(
        (8, 7, 4, 2, 1), (8, 7, 6, 4, 3, 2, 1), (1, 2, 4, 8)
    ):
        config = StemConfig(rows, tw, vectors * vector.lanes)
        if stem.valid(shape, config, vector) and tw * vectors + vectors < REGISTERS:
            yield config


def _stem_cost(config: StemConfig, vector: Vector) -> float:
    vectors = config.nr // vector.lanes
    return (config.tw + vectors) / (config.tw * vectors)


def _blocks(shape: Block, vector: Vector) -> Iterator[BlockConfig]:
    if shape.dtype == "int8":
        yield from _quantized(shape, vector)
        return
    pixels = shape.height * shape.width
    pairs = [
        (mr, nr * vector.lanes)
        for mr in range(1, min(pixels, 28) + 1)
        for nr in (1, 2, 3, 4, 6)
        if mr * nr <= REGISTERS - 4
    ]
    unrolls = [n for n in (8, 4, 16) if shape.channels % n == 0] or [1]
    for (mr, nr), unroll in itertools.product(pairs, unrolls):
        for tw, vc, fused, outside, tiles in _task_shapes(
            shape, mr, nr, (vector.lanes, 2 * vector.lanes)
        ):
            config = BlockConfig(mr, nr, fused, tiles, outside, unroll, tw, vc)
            found = [config] if separable.valid(shape, config, vector) else []
            if strassen.valid(shape, config, vector):
                found.append(replace(config, strassen=True))
            yield from found
            if vector.by_lane:
                yield from (replace(config, late=True) for config in found)


def _quantized(shape: Block, vector: Vector) -> Iterator[BlockConfig]:
    across = vector.dot_product_kind == SMULL
    widths = (1, 2) if across else (1, 2, 3, 4, 6)
    most = 16 if across else REGISTERS - 4
    pairs = [
        (mr, nr * vector.lanes)
        for mr in range(1, min(shape.height * shape.width, 28) + 1)
        for nr in widths
        if mr * nr * (vector.lanes if across else 1) <= most
    ]
    steps = shape.channels // words.step(shape, vector)
    unrolls = [n for n in ((1, 2) if across else (8, 4, 16)) if steps % n == 0] or [1]
    for (mr, nr), unroll in itertools.product(pairs, unrolls):
        for tw, vc, fused, outside, tiles in _task_shapes(shape, mr, nr, (16, 32, 64)):
            config = BlockConfig(mr, nr, fused, tiles, outside, unroll, tw, vc)
            if words.valid(shape, config, vector):
                yield config


def _task_shapes(
    shape: Block, mr: int, nr: int, channels: tuple[int, ...]
) -> Iterator[tuple[int, int, bool, bool, int]]:
    """Yield depthwise tile (tw, vc), fused or not, loop order, and tiles per task."""
    widths = sorted({w for w in (mr, shape.width, 7, 4, 8, 2, 1) if mr % w == 0}, reverse=True)
    waves = [
        (tw, vc)
        for tw in widths
        for vc in channels
        if tw * vc <= 16 * channels[0]
    ]  # fmt: skip
    tiles = shape.height * shape.width // mr
    for (tw, vc), fused, outside in itertools.product(waves, (True, False), (True, False)):
        if fused:
            for count in _divisors(tiles):
                enough = tiles // count >= min(MIN_TASKS, tiles)
                if count * mr * shape.channels <= CACHE_NUMBERS and enough:
                    yield tw, vc, fused, outside, count
        else:
            blocks = shape.outputs // nr
            for count in _divisors(blocks):
                enough = blocks // count >= min(MIN_TASKS, blocks)
                if count * nr * shape.channels <= CACHE_NUMBERS and enough:
                    yield tw, vc, fused, outside, count


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _cost(shape: Block, config: BlockConfig, vector: Vector) -> float:
    """Return instructions plus the cost of lines fetched into the first-level cache."""
    rows, vectors = shape.height * shape.width, config.nr // vector.lanes
    if shape.dtype == "int8":
        return _quantized_cost(shape, config, vector)
    lanes = -(-config.mr // vector.lanes) if vector.by_lane else config.mr
    steps = rows * shape.channels * shape.outputs / (config.mr * vectors * vector.lanes)
    steps *= 7 / 8 if config.strassen else 1
    product = steps * (config.mr * vectors + (lanes + vectors) / 2 + 4 / config.unroll)
    windows = rows * shape.channels / vector.lanes * (20 + 8 / config.tw)
    sums = rows * (shape.channels * 5 + shape.outputs * 8) / vector.lanes if config.strassen else 0
    return product + windows + sums + LINE_COST * _lines(shape, config, rows)


def _quantized_cost(shape: Block, config: BlockConfig, vector: Vector) -> float:
    rows, step = shape.height * shape.width, words.step(shape, vector)
    tiles = rows * shape.outputs / (config.mr * config.nr) * shape.channels / step
    if vector.dot_product_kind == SMULL:
        chain = words.chain(shape, vector)
        sums = config.mr * config.nr * (2 * chain + 1) + (config.mr + config.nr) * chain / 2
    else:
        vectors = config.nr // vector.lanes
        reads = -(-config.mr // vector.lanes) if vector.by_lane else config.mr
        sums = config.mr * vectors + (reads + vectors) / 2
    windows = rows * shape.channels / 16 * (40 + 8 / config.tw)
    product = tiles * (sums + 4 / config.unroll)
    return product + windows + LINE_COST * _lines(shape, config, rows) / 4


def _lines(shape: Block, config: BlockConfig, rows: int) -> float:
    """Return the cache lines of D and W that the loops fetch, repeated fetches included."""
    weights, middle = shape.outputs * shape.channels, rows * shape.channels
    blocks, tiles = shape.outputs // config.nr, rows // config.mr
    held = config.tiles * config.mr * shape.channels if config.fused else middle
    if config.channels_outside:
        fetched = (tiles / config.tiles if config.fused else 1) * weights
        fetched += middle * (1 if held < L1_NUMBERS else blocks)
    else:
        share = weights if config.fused else config.tiles * config.nr * shape.channels
        again = 1 if share < L1_NUMBERS else tiles
        fetched = weights * again + middle * (1 if config.fused else blocks / config.tiles)
    return (fetched + (0 if config.fused else 2 * middle)) / LINE_NUMBERS
