"""The geometry of int8 kernels: words of four bytes, tiles of pixels, valid schedules."""

from __future__ import annotations

import math

from compile.kernels.separable import Block, BlockConfig
from compile.target.vector_unit import SMULL, Vector

WORD = 4
"""Bytes in a word."""
CHANNELS = 16
"""Every tensor has a multiple of this many channels (compile/quantization/calibrate.py)."""


def chain_of(channels: int, vector: Vector) -> int:
    """Return m: registers of 16 bytes that are multiplied before the products are widened."""
    return 2 if vector.dot_product_kind == SMULL and channels % 32 == 0 else 1


def chain(block: Block, vector: Vector) -> int:
    """Return m for `block`, see `chain_of`."""
    return chain_of(block.channels, vector)


def step(block: Block, vector: Vector) -> int:
    """Return the number of input channels that one dot product consumes."""
    return 16 * chain(block, vector) if vector.dot_product_kind == SMULL else WORD


def group(config: BlockConfig, vector: Vector) -> int:
    """Return the number of output channels that are converted to bytes together."""
    return math.lcm(config.nr, CHANNELS) if vector.dot_product_kind == SMULL else config.nr


def tile_of(block: Block, mr: int) -> tuple[int, int]:
    """Return rows and columns of a tile of `mr` pixels that divides the picture.

    It has as few rows as possible. (0, 0): there is none.
    """
    for rows in range(1, mr + 1):
        columns = mr // rows
        if rows * columns == mr and block.height % rows == 0 and block.width % columns == 0:
            return rows, columns
    return 0, 0


def valid(block: Block, config: BlockConfig, vector: Vector) -> bool:
    """Whether the tiles of `config` divide the geometry."""
    pixels = block.height * block.width
    wide = group(config, vector)
    rows, columns = tile_of(block, config.mr)
    if not rows:
        return False
    fits = (
        block.outputs % wide == 0
        and config.nr % vector.lanes == 0
        and block.channels % config.vc == 0
        and config.vc % CHANNELS == 0
        and config.mr % config.tw == 0
        and (columns % config.tw == 0 or config.tw % columns == 0)
        and block.channels // step(block, vector) % config.unroll == 0
        and not config.strassen
    )
    if not config.fused:
        return fits and block.outputs // wide % config.tiles == 0
    row = block.width // columns
    whole = config.tiles % row == 0 or row % config.tiles == 0
    return fits and whole and pixels // config.mr % config.tiles == 0


def middle_shape(block: Block, config: BlockConfig, vector: Vector) -> tuple[int, int, int]:
    """Return the shape of D, in words."""
    tiles, words = block.height * block.width // config.mr, block.channels // WORD
    if vector.by_lane:
        return tiles, words, -(-config.mr // vector.lanes) * vector.lanes
    return tiles, config.mr, words


def every_other_tap(window: int) -> list[list[tuple[int, int]]]:
    """Split the taps of a window into two halves, as a chessboard's squares."""
    taps = [(y, x) for y in range(window) for x in range(window)]
    return [[tap for tap in taps if sum(tap) % 2 == color] for color in (0, 1)]
