"""Product quantization of a layer's weights (Wu et al. 2016, sections 3.1 and 3.2).

The input channels of a layer are divided into sub-spaces of `sub` channels. In each, the weights of
every output (and of every element of the window) are a sub-vector, which is replaced by the nearest
of `words` codewords. One codebook serves all elements of the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from training.papers.compressed.qcnn.layers import DENSE, Floats, Layer

ROUNDS = 15  # of k-means
LEAST_INPUTS = 4


@dataclass(frozen=True)
class Setting:
    """How convolutions and fully connected layers are quantized."""

    sub: int
    """Channels of a sub-space."""
    words: int
    """Codewords of a codebook, at most 256."""
    connected_sub: int = 4
    connected_words: int = 32

    def of(self, layer: Layer) -> tuple[int, int]:
        """Return the sub-space size, a divisor of its channels, and the number of codewords."""
        connected = layer.in_size == 1
        sub, words = (
            (self.connected_sub, self.connected_words) if connected else (self.sub, self.words)
        )
        return math.gcd(sub, layer.inputs // layer.groups), words


@dataclass(frozen=True)
class Codebooks:
    """The weights of a layer as codewords."""

    words: Floats
    """[groups, spaces, K, sub]"""
    indices: NDArray[np.uint8]
    """[groups, spaces, outputs / groups, window * window]"""

    @property
    def sub(self) -> int:
        """Return the channels of a sub-space."""
        return int(self.words.shape[3])

    @property
    def index_bits(self) -> int:
        """Return the bits of a stored index."""
        return int(self.words.shape[2] - 1).bit_length()

    @property
    def stored_bytes(self) -> int:
        """Return the bytes of codewords (float32) and packed indices."""
        return self.words.nbytes + -(-self.indices.size * self.index_bits // 8)


def table_operations(layer: Layer, sub: int, words: int) -> tuple[int, int]:
    """Return the multiply-adds of the tables and the sums by index of one picture."""
    return words * layer.inputs * layer.in_size**2, layer.multiply_adds // sub


def is_worth_coding(layer: Layer, setting: Setting) -> bool:
    """Whether look-up tables need fewer operations than the layer itself.

    A depthwise layer never does: each output reads one channel, so that a table would be used
    once. Nor does a layer with few outputs. A layer with fewer than four input channels stays, too.
    """
    if layer.kind != DENSE or layer.inputs < LEAST_INPUTS:
        return False
    sub, words = setting.of(layer)
    return sum(table_operations(layer, sub, words)) < layer.multiply_adds


def sub_vectors(layer: Layer, sub: int) -> Floats:
    """Return the weights as [groups, spaces, outputs / groups, window * window, sub].

    Raises InputError if `sub` does not divide the channels.
    """
    channels = layer.inputs // layer.groups
    if channels % sub:
        raise InputError(
            f"{channels} channels cannot be divided into sub-spaces of {sub}",
            where=layer.name,
            remedy="choose a divisor",
        )
    parts = layer.weight.reshape(layer.groups, -1, channels // sub, sub, layer.window**2)
    return np.ascontiguousarray(parts.transpose(0, 2, 1, 4, 3))


def to_weight(vectors: Floats, layer: Layer) -> Floats:
    """Invert `sub_vectors`."""
    return np.ascontiguousarray(vectors.transpose(0, 2, 1, 4, 3)).reshape(layer.weight.shape)


def reconstruct(layer: Layer, books: Codebooks) -> Layer:
    """Return the layer with the weights that the codewords stand for."""
    vectors = np.empty((*books.indices.shape, books.sub), np.float32)
    for place in np.ndindex(*books.indices.shape[:2]):
        vectors[place] = books.words[place][books.indices[place]]
    return replace(layer, weight=to_weight(vectors, layer))


def fit_codebooks(layer: Layer, sub: int, words: int, seed: int) -> Codebooks:
    """Fit the codebooks of a layer to its weights by k-means."""
    vectors = sub_vectors(layer, sub)
    count = vectors.shape[2] * vectors.shape[3]
    if not 1 < words <= min(256, count):
        raise InputError(
            f"{words} codewords for {count} sub-vectors", where=layer.name, remedy="2 to 256"
        )
    books = np.empty((*vectors.shape[:2], words, sub), np.float32)
    indices = np.empty(vectors.shape[:4], np.uint8)
    for place in np.ndindex(*vectors.shape[:2]):
        rng = np.random.default_rng((seed, *place))
        books[place], nearest = k_means(vectors[place].reshape(count, sub), words, rng)
        indices[place] = nearest.reshape(indices.shape[2:])
    return Codebooks(books, indices)


def k_means(
    points: Floats, words: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.intp]]:
    """Return centers float32 [words, D] of points [N, D], and the nearest center of each point."""
    centers = points[rng.choice(len(points), words, replace=False)].copy()
    numbers = np.arange(words)[:, None]
    for _ in range(ROUNDS):
        distance = (centers**2).sum(1) - 2 * points @ centers.T
        nearest = distance.argmin(1)
        sizes = np.bincount(nearest, minlength=words)
        sums = (nearest == numbers).astype(np.float32) @ points
        centers = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centers)
        empty = np.flatnonzero(sizes == 0)
        if empty.size:  # start again from the points that are worst represented
            own = distance[np.arange(len(points)), nearest] + (points**2).sum(1)
            centers[empty] = points[np.argsort(own)[-empty.size :]]
    nearest = ((centers**2).sum(1) - 2 * points @ centers.T).argmin(1)
    return centers.astype(np.float32), nearest
