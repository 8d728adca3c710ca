"""Binary codes: binarize activations, pack bits into words, and measure Hamming distances.

A code of K bits is stored in ceil(K / 64) uint64 words. Bit i is bit i % 64 of word i // 64, least
significant first; bits past K are zero. On a little-endian machine, this memory layout is that of
`np.packbits(bits, bitorder="little")` and of FAISS. It is not numpy's default bit order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import CodeError

BIT_ORDER = "little"
WORD_BITS = 64

_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).sum(axis=1)
"""[256]: the number of ones in each byte."""

Code = NDArray[np.uint64]
"""One code, uint64 [W] with W = `words_of(bits)`, or several, uint64 [n, W]."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """What one run of a network computes of an image."""

    code: Code
    """uint64 [W]."""
    features: NDArray[np.float32] | None
    """The pooled features that enter the hash layer, [F]; None if the model gives none."""


def words_of(bits: int) -> int:
    """Return the number of uint64 words of a code of `bits` bits."""
    return -(-bits // WORD_BITS)


def binarize(activations: ArrayLike, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Return which activations are above `threshold` (Qi et al. 2017, equation 4), in any shape.

    The comparison is strict, so an activation of exactly 0.5 becomes 0.
    """
    return np.asarray(activations) > threshold


def pack(bits: ArrayLike) -> Code:
    """Pack a bool or 0/1 array [..., K] into uint64 [..., ceil(K / 64)]."""
    flat = np.asarray(bits, dtype=np.bool_)
    words = words_of(flat.shape[-1])
    packed = np.packbits(flat, axis=-1, bitorder="little")
    padded = np.zeros((*flat.shape[:-1], words * 8), dtype=np.uint8)
    padded[..., : packed.shape[-1]] = packed
    return padded.view("<u8").astype(np.uint64, copy=False)


def unpack(code: Code, bits: int) -> NDArray[np.bool_]:
    """Unpack uint64 [..., W] to bool [..., `bits`]; the inverse of `pack`."""
    words = np.ascontiguousarray(code, dtype="<u8")
    return np.unpackbits(words.view(np.uint8), axis=-1, count=bits, bitorder="little").astype(
        np.bool_
    )


def hamming(a: Code, b: Code) -> NDArray[np.int64]:
    """Return the Hamming distance over the last axis; the other axes broadcast."""
    differing = a ^ b
    if hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(differing)
    else:  # numpy 1, which Debian 12 ships for a Raspberry Pi's camera packages
        differing_bytes = np.ascontiguousarray(differing)[..., np.newaxis].view(np.uint8)
        counts = _ONES[differing_bytes].sum(axis=-1)
    distances: NDArray[np.int64] = counts.sum(axis=-1, dtype=np.int64)
    return distances


def check_codes(codes: ArrayLike, bits: int) -> Code:
    """Return `codes` as contiguous uint64 [n, W].

    Raises `CodeError` if they are not codes of `bits` bits.
    """
    expected = f"uint64 [n, {words_of(bits)}] for {bits} bits"
    try:
        array = np.atleast_2d(np.asarray(codes))
    except ValueError as error:
        raise CodeError(f"codes have different widths, expected {expected}") from error
    if array.dtype != np.uint64 or array.ndim != 2 or array.shape[1] != words_of(bits):
        raise CodeError(
            f"codes must be {expected}, got {array.dtype} {list(array.shape)}",
            remedy="pack them with edge_runtime.code.pack",
        )
    spare = words_of(bits) * WORD_BITS - bits
    if spare and np.any(array[:, -1] >> np.uint64(WORD_BITS - spare)):
        raise CodeError(f"codes have bits set beyond bit {bits}", remedy="use codes of this width")
    return np.ascontiguousarray(array)
