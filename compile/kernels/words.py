"""The geometry of int8 kernels: words of four bytes, tiles of pixels, and which knobs fit."""

from __future__ import annotations

import math

from compile.kernels.separable import Block, ScheduleConfig
from compile.target.vector_unit import SMULL, Vector

WORD = 4
"""Bytes."""
CHANNELS = 16
"""All tensors have a multiple of so many channels (compile/quantization/calibrate.py sees to it)."""


def chain_of(channels: int, vector: Vector) -> int:
    """m: registers of 16 bytes that are multiplied before their products are widened."""
    return 2 if vector.way == SMULL and channels % 32 == 0 else 1


def chain(block: Block, vector: Vector) -> int:
    """Of a block."""
    return chain_of(block.channels, vector)


def step(block: Block, vector: Vector) -> int:
    """Input channels that one dot product takes."""
    return 16 * chain(block, vector) if vector.way == SMULL else WORD


def group(knobs: ScheduleConfig, vector: Vector) -> int:
    """Output channels that are turned into bytes together."""
    return math.lcm(knobs.nr, CHANNELS) if vector.way == SMULL else knobs.nr


def tile_of(block: Block, mr: int) -> tuple[int, int]:
    """Rows and columns of a tile of `mr` pixels, the fewest rows that divide the picture; (0, 0):
    none do."""
    for rows in range(1, mr + 1):
        columns = mr // rows
        if rows * columns == mr and block.height % rows == 0 and block.width % columns == 0:
            return rows, columns
    return 0, 0


def valid(block: Block, knobs: ScheduleConfig, vector: Vector) -> bool:
    """Whether `knobs` fit the geometry (tiles divide it)."""
    pixels = block.height * block.width
    wide = group(knobs, vector)
    rows, columns = tile_of(block, knobs.mr)
    if not rows:
        return False
    fits = (
        block.outputs % wide == 0
        and knobs.nr % vector.lanes == 0
        and block.channels % knobs.vc == 0
        and knobs.vc % CHANNELS == 0
        and knobs.mr % knobs.tw == 0
        and (columns % knobs.tw == 0 or knobs.tw % columns == 0)
        and block.channels // step(block, vector) % knobs.unroll == 0
        and not knobs.strassen
    )
    if not knobs.fused:
        return fits and block.outputs // wide % knobs.tiles == 0
    row = block.width // columns
    whole = knobs.tiles % row == 0 or row % knobs.tiles == 0
    return fits and whole and pixels // knobs.mr % knobs.tiles == 0


def middle_shape(block: Block, knobs: ScheduleConfig, vector: Vector) -> tuple[int, int, int]:
    """The shape of D, in words."""
    tiles, words = block.height * block.width // knobs.mr, block.channels // WORD
    if vector.by_lane:
        return tiles, words, -(-knobs.mr // vector.lanes) * vector.lanes
    return tiles, knobs.mr, words


def every_other_tap(window: int) -> list[list[tuple[int, int]]]:
    """The taps of a window as the fields of a chess board, black and white."""
    taps = [(y, x) for y in range(window) for x in range(window)]
    return [[tap for tap in taps if sum(tap) % 2 == colour] for colour in (0, 1)]
