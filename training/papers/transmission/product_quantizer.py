"""Product quantization (Jegou, Douze & Schmid 2011): a vector as one byte per part of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CENTERS = 256
_ROUNDS = 8


class ProductQuantizer:
    """Codebooks [parts, centers, F / parts], one for each part of a vector."""

    def __init__(self, rows: Floats, parts: int, seed: int) -> None:
        """Fit to rows [N, F] by k-means; F must be a multiple of `parts`."""
        rng = np.random.default_rng((seed, 6))
        self.books = np.stack([_k_means(part, rng) for part in np.split(rows, parts, axis=1)])

    def encode(self, rows: Floats) -> NDArray[np.uint8]:
        """Return the bytes [N, parts] of rows [N, F]."""
        parts = np.split(rows, len(self.books), axis=1)
        near = [_nearest(part, book) for part, book in zip(parts, self.books, strict=True)]
        return np.stack(near, 1).astype(np.uint8)

    def decode(self, codes: NDArray[np.uint8]) -> Floats:
        """Return the rows [N, F] that `codes` stand for."""
        parts = [book[codes[:, number]] for number, book in enumerate(self.books)]
        return np.concatenate(parts, axis=1)


def _k_means(rows: Floats, rng: np.random.Generator) -> Floats:
    centers = rows[rng.permutation(len(rows))[:CENTERS]].copy()
    for _ in range(_ROUNDS):
        owner = _nearest(rows, centers)
        sizes = np.bincount(owner, minlength=len(centers))
        sums = np.zeros_like(centers)
        np.add.at(sums, owner, rows)
        centers[sizes > 0] = sums[sizes > 0] / sizes[sizes > 0, None]
    return centers


def _nearest(rows: Floats, centers: Floats) -> NDArray[np.intp]:
    found: NDArray[np.intp] = ((centers**2).sum(1) - 2 * rows @ centers.T).argmin(1)
    return found
