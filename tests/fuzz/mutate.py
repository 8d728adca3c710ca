"""Random changes to an input."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_FORMATS = ("B", "<H", ">H", "<I", ">I")
_MOST_BYTES = 1 << 20
_HEADER = 512
"""Half of all changes are made within the first bytes, where the headers are."""


def mutate(data: bytes, pool: Sequence[bytes], rng: random.Random) -> bytes:
    """Return `data` with one to six changes; some copy bytes of another input of `pool`."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        _change(changed, pool, rng)
    return bytes(changed[:_MOST_BYTES])


def _change(data: bytearray, pool: Sequence[bytes], rng: random.Random) -> None:
    limit = min(len(data), _HEADER) if rng.random() < 0.5 else len(data)
    at, kind = rng.randrange(limit + 1), rng.randrange(7)
    length = rng.choice((1, 2, 4, 16, 256))
    if kind == 0 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        form = rng.choice(_FORMATS)
        size = struct.calcsize(form)
        data[at : at + size] = struct.pack(form, rng.choice(_NUMBERS) & (256**size - 1))
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = rng.randbytes(length)
    elif kind == 4:
        data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
    elif kind == 5:
        del data[at:]
    else:
        other = rng.choice(pool)
        start = rng.randrange(len(other) + 1)
        data[at : at + length] = other[start : start + length]
