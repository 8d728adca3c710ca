"""Mean average precision of a whole Hamming ranking, with ties taken in expectation.

Codes of a few bits put thousands of images at the same distance, and their order is arbitrary. The
average precision here is its expectation over all orders of equal distances (McSherry & Najork
2008), as in `training.eval.metrics.tie_aware_ap`, over the whole database. It needs only how many
images, and how many relevant ones, lie at each distance, so 1,000 queries of 59,000 images take
about a second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.input_tensor import Floats
from training.eval.metrics import Doubles
from training.papers.cifar10.images import Ints

Bits = NDArray[np.bool_]
_BLOCK = 64  # queries at a time: bounds the memory of their distances
_LEVELS = 1e-6  # weighted distances closer than this share of the greatest are equal


def mean_ap(
    queries: tuple[Bits, Ints], database: tuple[Bits, Ints], weights: Floats | None = None
) -> float:
    """Return the MAP, 0 to 1, of ranking the whole database for each query.

    Both sides are (bits bool [N, K], labels int64 [N]). A distance is the number of different bits,
    or the sum of their `weights` (float32 [K], 0 or more). A query without a relevant image counts
    as 0.
    """
    codes, labels = queries
    different, counts = _count_codes(*database, int(max(labels.max(), database[1].max())) + 1)
    signs = [np.where(each, 1, -1).astype(np.float32) for each in (codes, different)]
    total = np.float32(codes.shape[1] if weights is None else weights.sum())
    if weights is not None:
        signs[0] *= weights
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(database[0]) + 1))])
    found = []
    for start in range(0, len(codes), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances = (total - signs[0][rows] @ signs[1].T) / 2
        if weights is not None:
            distances = np.round(distances / (max(total, np.float32(1e-30)) * _LEVELS))
        for row, label in zip(distances, labels[rows], strict=True):
            found.append(_ap(row, counts.sum(1), counts[:, label], harmonic))
    return float(np.mean(found))


def _count_codes(codes: Bits, labels: Ints, classes: int) -> tuple[Bits, Ints]:
    """Return the different codes bool [U, K], and how many images of each class have them."""
    packed = np.ascontiguousarray(np.packbits(codes, axis=1))
    whole = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, place = np.unique(whole, return_index=True, return_inverse=True)
    counts = np.zeros((len(first), classes), np.int64)
    np.add.at(counts, (place, labels), 1)
    return codes[first], counts


def _ap(distances: Floats, sizes: Ints, relevant: Ints, harmonic: Doubles) -> float:
    """Return the expected AP of one query.

    `distances` [U] are whole numbers; `sizes` and `relevant` [U] count images and relevant images.
    """
    levels, group = _levels(distances)
    size = np.bincount(group, sizes, levels).astype(np.float64)
    hits = np.bincount(group, relevant, levels).astype(np.float64)
    present = size > 0
    return expected_ap(size[present], hits[present], harmonic)


def _levels(distances: Floats) -> tuple[int, Ints]:
    """Number the distances in increasing order; numbers without an image may occur."""
    whole = np.rint(distances).astype(np.int64)
    if whole.max() <= 4 * len(whole):
        return int(whole.max()) + 1, whole
    values, group = np.unique(whole, return_inverse=True)
    return len(values), group


def expected_ap(size: Doubles, hits: Doubles, harmonic: Doubles) -> float:
    """Return the expected AP of groups of equal distances, nearest first.

    A group that starts after `start` images and `before` relevant ones has c = size images, r =
    hits of them relevant. Its image at place k is relevant with probability r / c, and then
    (k - 1)(r - 1) / (c - 1) other relevant ones of the group precede it on average. The sum over k
    of (before + 1 + (k - 1) rho) / (start + k) has a closed form with harmonic numbers, `harmonic`.
    """
    start, before = np.cumsum(size) - size, np.cumsum(hits) - hits
    ends = (start + size).astype(np.int64)
    inverse = harmonic[ends] - harmonic[start.astype(np.int64)]
    rho = (hits - 1) / np.maximum(size - 1, 1)
    summed = (before + 1) * inverse + rho * (size - (start + 1) * inverse)
    relevant = hits.sum()
    return float((hits / size * summed).sum() / relevant) if relevant else 0.0
