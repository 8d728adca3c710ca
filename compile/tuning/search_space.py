"""What can be chosen for a workload, in the order in which it is worth trying."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from compile.codegen.plan import ScheduleConfig, vector_of
from compile.kernels import separable, stem, strassen, words
from compile.target.vector_unit import SMULL, Vector

REGISTERS = 32
NEAR = 5_000
"""Numbers that stay in a first-level cache beside what streams through it."""
LINE = 16
"""Numbers a line."""
MISS = 4
"""What fetching a line costs, in instructions."""
TASKS = 6
"""A kernel has at least so many tasks, where it can, so that threads share them evenly."""
CACHE_NUMBERS = 1 << 16
"""Numbers of D that a fused task may hold: a quarter of a megabyte."""


def space(shape: separable.Block | stem.Stem, vector: Vector) -> list[ScheduleConfig]:
    """Every choice for `shape`, the most promising first by a rule of thumb."""
    vector = vector_of(shape, vector)
    every = _stems(shape, vector) if isinstance(shape, stem.Stem) else _blocks(shape, vector)
    return sorted(every, key=lambda knobs: rule_of_thumb(shape, knobs, vector))


def rule_of_thumb(
    shape: separable.Block | stem.Stem, knobs: ScheduleConfig, vector: Vector
) -> float:
    """What the choice `knobs` costs, roughly; comparable for one shape only."""
    if isinstance(shape, stem.Stem):
        return _stem_cost(knobs, vector)
    return _cost(shape, knobs, vector_of(shape, vector))


def decisions(knobs: ScheduleConfig) -> tuple[object, ...]:
    """A tile's size is one decision, whatever follows from it."""
    if not isinstance(knobs, separable.ScheduleConfig):
        return (knobs.rows, knobs.tw, knobs.nr)
    size = knobs.tiles * (knobs.mr if knobs.fused else knobs.nr)
    return (
        (knobs.mr, knobs.nr),
        (knobs.mr // knobs.tw, knobs.vc),
        (knobs.fused, knobs.strassen, size),
        knobs.channels_outside,
        (knobs.unroll, knobs.late),
    )


def distance(one: ScheduleConfig, other: ScheduleConfig) -> int:
    """How many decisions differ."""
    return sum(a != b for a, b in zip(decisions(one), decisions(other), strict=True))


def _stems(shape: stem.Stem, vector: Vector) -> Iterator[stem.StemConfig]:
    for rows, tw, vectors in itertools.product(
        (8, 7, 4, 2, 1), (8, 7, 6, 4, 3, 2, 1), (1, 2, 4, 8)
    ):
        knobs = stem.StemConfig(rows, tw, vectors * vector.lanes)
        if stem.valid(shape, knobs, vector) and tw * vectors + vectors < REGISTERS:
            yield knobs


def _stem_cost(knobs: stem.StemConfig, vector: Vector) -> float:
    vectors = knobs.nr // vector.lanes
    return (knobs.tw + vectors) / (knobs.tw * vectors)


def _blocks(shape: separable.Block, vector: Vector) -> Iterator[separable.ScheduleConfig]:
    if shape.dtype == "int8":
        yield from _quantised(shape, vector)
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
        for tw, vc, fused, outside, tiles in _rest(shape, mr, nr, (vector.lanes, 2 * vector.lanes)):
            knobs = separable.ScheduleConfig(mr, nr, fused, tiles, outside, unroll, tw, vc)
            found = [knobs] if separable.valid(shape, knobs, vector) else []
            if strassen.valid(shape, knobs, vector):
                found.append(replace(knobs, strassen=True))
            yield from found
            if vector.by_lane:
                yield from (replace(knobs, late=True) for knobs in found)


def _quantised(shape: separable.Block, vector: Vector) -> Iterator[separable.ScheduleConfig]:
    across = vector.way == SMULL
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
        for tw, vc, fused, outside, tiles in _rest(shape, mr, nr, (16, 32, 64)):
            knobs = separable.ScheduleConfig(mr, nr, fused, tiles, outside, unroll, tw, vc)
            if words.valid(shape, knobs, vector):
                yield knobs


def _rest(
    shape: separable.Block, mr: int, nr: int, channels: tuple[int, ...]
) -> Iterator[tuple[int, int, bool, bool, int]]:
    """Depthwise tile, fused or not, order and size of a task."""
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
                enough = tiles // count >= min(TASKS, tiles)
                if count * mr * shape.channels <= CACHE_NUMBERS and enough:
                    yield tw, vc, fused, outside, count
        else:
            blocks = shape.outputs // nr
            for count in _divisors(blocks):
                enough = blocks // count >= min(TASKS, blocks)
                if count * nr * shape.channels <= CACHE_NUMBERS and enough:
                    yield tw, vc, fused, outside, count


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _cost(shape: separable.Block, knobs: separable.ScheduleConfig, vector: Vector) -> float:
    """Instructions, and lines that have to be fetched into a first-level cache."""
    rows, vectors = shape.height * shape.width, knobs.nr // vector.lanes
    if shape.dtype == "int8":
        return _quantised_cost(shape, knobs, vector)
    lanes = -(-knobs.mr // vector.lanes) if vector.by_lane else knobs.mr
    steps = rows * shape.channels * shape.outputs / (knobs.mr * vectors * vector.lanes)
    steps *= 7 / 8 if knobs.strassen else 1
    product = steps * (knobs.mr * vectors + (lanes + vectors) / 2 + 4 / knobs.unroll)
    windows = rows * shape.channels / vector.lanes * (20 + 8 / knobs.tw)
    sums = rows * (shape.channels * 5 + shape.outputs * 8) / vector.lanes if knobs.strassen else 0
    return product + windows + sums + MISS * _lines(shape, knobs, rows)


def _quantised_cost(
    shape: separable.Block, knobs: separable.ScheduleConfig, vector: Vector
) -> float:
    rows, step = shape.height * shape.width, words.step(shape, vector)
    tiles = rows * shape.outputs / (knobs.mr * knobs.nr) * shape.channels / step
    if vector.way == SMULL:
        chain = words.chain(shape, vector)
        sums = knobs.mr * knobs.nr * (2 * chain + 1) + (knobs.mr + knobs.nr) * chain / 2
    else:
        vectors = knobs.nr // vector.lanes
        reads = -(-knobs.mr // vector.lanes) if vector.by_lane else knobs.mr
        sums = knobs.mr * vectors + (reads + vectors) / 2
    windows = rows * shape.channels / 16 * (40 + 8 / knobs.tw)
    product = tiles * (sums + 4 / knobs.unroll)
    return product + windows + MISS * _lines(shape, knobs, rows) / 4


def _lines(shape: separable.Block, knobs: separable.ScheduleConfig, rows: int) -> float:
    """Lines of D and W that the loops fetch again because they did not stay."""
    weights, middle = shape.outputs * shape.channels, rows * shape.channels
    blocks, tiles = shape.outputs // knobs.nr, rows // knobs.mr
    held = knobs.tiles * knobs.mr * shape.channels if knobs.fused else middle
    if knobs.channels_outside:
        fetched = (tiles / knobs.tiles if knobs.fused else 1) * weights
        fetched += middle * (1 if held < NEAR else blocks)
    else:
        share = weights if knobs.fused else knobs.tiles * knobs.nr * shape.channels
        again = 1 if share < NEAR else tiles
        fetched = weights * again + middle * (1 if knobs.fused else blocks / knobs.tiles)
    return (fetched + (0 if knobs.fused else 2 * middle)) / LINE
