"""Binary codes: from activations to bits to words, and the distance between two of them.

A code of K bits is held in ceil(K / 64) uint64 words. Bit i is bit i % 64 of word i // 64, least
significant first; bits past K are zero. In memory on a little-endian machine this is what
`np.packbits(bits, bitorder="little")` gives (and faiss expects); numpy's default order is the
other one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import CodeError

BIT_ORDER = "little"
WORD_BITS = 64

_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).sum(axis=1)
"""[256]: the ones in each byte."""

Code = NDArray[np.uint64]
"""uint64, `words_of(bits)` long: one code. A gallery's codes are such rows stacked."""


def words_of(bits: int) -> int:
    """How many uint64 words hold a code of `bits` bits."""
    return -(-bits // WORD_BITS)


def binarize(activations: ArrayLike, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Bit = 1 if the sigmoid activation is above `threshold` (Qi et al. 2017, equation 4).

    Takes and gives any shape; strictly above, so an activation of exactly 0.5 is a 0.
    """
    return np.asarray(activations) > threshold


def pack(bits: ArrayLike) -> Code:
    """Bool or 0/1 array [..., K] to uint64 [..., ceil(K / 64)]."""
    flat = np.asarray(bits, dtype=np.bool_)
    words = words_of(flat.shape[-1])
    octets = np.packbits(flat, axis=-1, bitorder="little")
    padded = np.zeros((*flat.shape[:-1], words * 8), dtype=np.uint8)
    padded[..., : octets.shape[-1]] = octets
    return padded.view("<u8").astype(np.uint64, copy=False)


def unpack(code: Code, bits: int) -> NDArray[np.bool_]:
    """The inverse of `pack`: uint64 [..., W] to bool [..., `bits`]."""
    words = np.ascontiguousarray(code, dtype="<u8")
    return np.unpackbits(words.view(np.uint8), axis=-1, count=bits, bitorder="little").astype(
        np.bool_
    )


def hamming(a: Code, b: Code) -> NDArray[np.int64]:
    """How many bits differ, over the last axis; the other axes broadcast."""
    differing = a ^ b
    if hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(differing)
    else:  # numpy 1, as Debian 12 has it for a Raspberry Pi's camera packages
        octets = np.ascontiguousarray(differing)[..., np.newaxis].view(np.uint8)
        counts = _ONES[octets].sum(axis=-1)
    distances: NDArray[np.int64] = counts.sum(axis=-1, dtype=np.int64)
    return distances


def check_codes(codes: ArrayLike, bits: int) -> Code:
    """`codes` as contiguous uint64 [n, W]; `CodeError` unless they are codes of `bits` bits."""
    expected = f"uint64 [n, {words_of(bits)}] for {bits} bits"
    try:
        array = np.atleast_2d(np.asarray(codes))
    except ValueError as error:
        raise CodeError("codes of different widths", remedy=f"expected {expected}") from error
    if array.dtype != np.uint64 or array.ndim != 2 or array.shape[1] != words_of(bits):
        raise CodeError(
            f"codes are {array.dtype} {list(array.shape)}, expected {expected}",
            remedy="pack them with edge_runtime.code.pack",
        )
    spare = words_of(bits) * WORD_BITS - bits
    if spare and np.any(array[:, -1] >> np.uint64(WORD_BITS - spare)):
        raise CodeError(
            f"codes have bits set beyond {bits}", remedy="they were made for another width"
        )
    return np.ascontiguousarray(array)
