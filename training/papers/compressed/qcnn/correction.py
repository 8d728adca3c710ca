"""Error correction of codebooks (Wu et al. 2016, section 3.3): block coordinate descent.

Minimized is the squared error of a layer's response on training photos, where the layer reads what
the quantized layers before it make, and should answer as the original network does. The error is
quadratic in the weights: with the inputs S and the wanted responses T, the products S'S and S'T
hold all that is needed. One sub-space after the other, each codeword is moved to the minimum, then
each sub-vector chooses the codeword that leaves the smallest error. No step increases the error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.papers.compressed.qcnn.codebooks import Codebooks, sub_vectors
from training.papers.compressed.qcnn.layers import Floats, Layer, windows

SAMPLES = 60_000  # positions
DAMPING = 1e-4
"""Share of the mean square of the inputs that holds a codeword where it is: a sub-space whose
inputs hardly vary would otherwise be fitted to the noise."""


@dataclass(frozen=True)
class Products:
    """Sums over samples for one group of a layer; inputs are in the order of `sub_vectors`."""

    inputs: Floats
    """S'S [D, D]"""
    wanted: Floats
    """S'T [D, outputs of the group]"""
    energy: float
    """The sum of the squares of T."""


def sample_columns(
    layer: Layer, maps: Floats, sub: int, places: tuple[np.ndarray, ...]
) -> list[Floats]:
    """Return what the windows at `places` (photo, row, column) see, [samples, D] per group."""
    photo, row, column = places
    seen = windows(layer, maps).transpose(0, 2, 3, 1, 4, 5)[photo, row, column]
    spaces = layer.inputs // layer.groups // sub
    parts = seen.reshape(len(photo), layer.groups, spaces, sub, layer.window**2)
    ordered = parts.transpose(1, 0, 2, 4, 3)  # groups, samples, spaces, window, sub
    return list(np.ascontiguousarray(ordered).reshape(layer.groups, len(photo), -1))


def choose_places(layer: Layer, photos: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return photo, row and column of up to SAMPLES positions of the output."""
    total = photos * layer.out_size**2
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(total, min(total, SAMPLES), replace=False))
    return np.unravel_index(chosen, (photos, layer.out_size, layer.out_size))


def products_of(columns: list[Floats], wanted: Floats) -> list[Products]:
    """Sum over samples: columns [samples, D] per group, `wanted` [samples, outputs], no bias."""
    found = []
    for own, part in zip(columns, np.split(wanted, len(columns), axis=1), strict=True):
        energy = float((part.astype(np.float64) ** 2).sum())
        found.append(Products(own.T @ own, own.T @ part, energy))
    return found


def response_error(layer: Layer, sub: int, products: list[Products]) -> float:
    """Return the squared error of the response, as a share of the response's energy."""
    error = 0.0
    for group, vectors in zip(products, sub_vectors(layer, sub), strict=True):
        weight = _matrix(vectors).astype(np.float64)
        inner = group.inputs.astype(np.float64) @ weight
        error += group.energy + float((weight * (inner - 2 * group.wanted)).sum())
    return max(error, 0.0) / max(sum(group.energy for group in products), 1e-30)


def correct(books: Codebooks, products: list[Products], sweeps: int) -> Codebooks:
    """Return codebooks with a smaller error of the response; `sweeps` over all sub-spaces."""
    words, indices = books.words.copy(), books.indices.copy()
    for _ in range(sweeps):
        for group, own in enumerate(products):
            _sweep(words[group], indices[group], own)
    return replace(books, words=words, indices=indices)


def _matrix(vectors: Floats) -> Floats:
    """Return sub-vectors [spaces, outputs, window, sub] as a matrix [D, outputs]."""
    return vectors.transpose(0, 2, 3, 1).reshape(-1, vectors.shape[1])


def _sweep(words: Floats, indices: np.ndarray, products: Products) -> None:
    """Update words [spaces, K, sub] and indices [spaces, outputs, window] in place."""
    spaces, _, sub = words.shape
    elements = indices.shape[2]
    vectors = np.stack([words[m][indices[m]] for m in range(spaces)])
    rest = products.wanted - products.inputs @ _matrix(vectors)  # S'(T - response)
    for m in range(spaces):
        rows = slice(m * elements * sub, (m + 1) * elements * sub)
        square = products.inputs[rows, rows].astype(np.float64)
        block = rest[rows].astype(np.float64)
        before = words[m][indices[m]]
        if elements == 1:
            _move_words(words[m], indices[m, :, 0], square, block)
        else:
            _move_shared_words(words[m], indices[m], square, block)
        for element in range(elements):
            _choose(words[m], indices[m, :, element], square, block, element)
        change = (words[m][indices[m]] - before).transpose(1, 2, 0).reshape(elements * sub, -1)
        rest -= products.inputs[:, rows] @ change


def _damped(square: np.ndarray) -> np.ndarray:
    size = len(square)
    damped: np.ndarray = square + np.eye(size) * (DAMPING * np.trace(square) / size + 1e-12)
    return damped


def _move_words(words: Floats, chosen: np.ndarray, square: np.ndarray, block: np.ndarray) -> None:
    """Move every codeword to the least error of the outputs that use it. Changes `block`, too."""
    sizes = np.bincount(chosen, minlength=len(words))
    sums = (chosen == np.arange(len(words))[:, None]).astype(np.float64) @ block.T
    mean = sums / np.maximum(sizes, 1)[:, None]
    moved = words + np.linalg.solve(_damped(square), mean.T).T
    block -= square @ (moved.astype(np.float32) - words)[chosen].T
    words[:] = moved


def _move_shared_words(
    words: Floats, indices: np.ndarray, square: np.ndarray, block: np.ndarray
) -> None:
    """The same where an output uses a codebook once for each element of its window."""
    sub, elements = words.shape[1], indices.shape[1]
    squares = square.reshape(elements, sub, elements, sub)
    for word in np.unique(indices):
        used = (indices == word).T.astype(np.float64)  # [elements, outputs]
        own = np.einsum("pq,piqj->ij", used @ used.T, squares)
        wanted = np.einsum("po,pio->i", used, block.reshape(elements, sub, -1))
        step = np.linalg.solve(_damped(own), wanted).astype(np.float32)
        words[word] += step
        block -= (squares @ step).reshape(elements * sub, elements) @ used


def _choose(
    words: Floats, chosen: np.ndarray, square: np.ndarray, block: np.ndarray, element: int
) -> None:
    """Let every output choose the best codeword for one element of its window, in place."""
    sub = words.shape[1]
    rows = slice(element * sub, (element + 1) * sub)
    own, wanted = square[rows, rows], block[rows]
    # The error changes by d'Hd - 2d'e, where d is the new codeword minus the old one.
    pull = words @ own
    quadratic = (pull * words).sum(1)
    linear = words @ wanted + pull @ words[chosen].T  # [K, outputs]
    cost = quadratic[:, None] - 2 * linear
    best = cost.argmin(0)
    places = np.arange(len(chosen))
    better = cost[best, places] < cost[chosen, places]
    best = np.where(better, best, chosen)
    block -= square[:, rows] @ (words[best] - words[chosen]).T
    chosen[:] = best
