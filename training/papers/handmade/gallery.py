"""The local features of all stored photos, hashed and indexed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, hamming
from training.hash_layer.codes import to_codes
from training.methods.linear_map import LinearMap
from training.papers.handmade.hash_bits import fit_bits
from training.papers.handmade.local_features import Floats, LocalFeatures, root
from training.papers.handmade.tables import HashTables, Rows
from training.papers.handmade.voting import Matches, match

TABLES, RADIUS = 12, 1
"""Hash tables, and the Hamming radius of the buckets that are visited in each."""
MOST_KEY_BITS = 18
MATCHES = 0.3
"""Stored features in other photos that a stored feature matches, about: sets how far two may be."""
_PROBES = 100
FITTED_TO = 10_000
"""Features that the bits are fitted to, at most, drawn at random."""


@dataclass(frozen=True)
class Gallery:
    """Features of P photos: F in total."""

    photos: int
    photo_of: Rows
    """The photo of each feature [F]."""
    places: Floats
    angles: Floats
    codes: Code
    layer: LinearMap
    tables: HashTables
    most: int
    """Bits in which a match may differ."""

    def match(self, features: LocalFeatures, radius: int = RADIUS) -> Matches:
        """Match the features of a query."""
        codes = to_codes(root(features.descriptors), self.layer)
        return match(self.tables, self.codes, self.photo_of, codes, radius, self.most)


def make_gallery(photos: Sequence[LocalFeatures], bits: int, seed: int) -> Gallery:
    """Hash the features of `photos` to `bits` bits.

    The tables have about as many buckets as there are features.
    """
    descriptors = root(np.concatenate([each.descriptors for each in photos]))
    chosen = np.random.default_rng((seed, 4)).permutation(len(descriptors))[:FITTED_TO]
    layer = fit_bits(descriptors[chosen], bits, seed)
    codes = to_codes(descriptors, layer)
    key_bits = min(MOST_KEY_BITS, max(8, int(np.log2(len(codes)))), bits)
    photo_of = np.repeat(np.arange(len(photos)), [len(each) for each in photos])
    return Gallery(
        len(photos),
        photo_of,
        np.concatenate([each.places for each in photos]),
        np.concatenate([each.angles for each in photos]),
        codes,
        layer,
        HashTables(codes, bits, TABLES, key_bits, seed),
        furthest_match(codes, photo_of, bits, seed),
    )


def furthest_match(codes: Code, photo_of: Rows, bits: int, seed: int) -> int:
    """Return the distance within which a feature has about MATCHES others in other photos.

    Measured with some of the stored features, uint64 [N, W], of the photos `photo_of` [N]. A set of
    few photos has few chance matches, so its matches may be further apart.
    """
    probes = np.random.default_rng((seed, 5)).permutation(len(codes))[:_PROBES]
    counts = np.zeros(bits + 1)
    for probe in probes:
        others = hamming(codes[probe], codes)[photo_of != photo_of[probe]]
        counts += np.bincount(others, minlength=bits + 1)
    within = np.cumsum(counts) / len(probes)
    return max(0, int(np.searchsorted(within, MATCHES, side="right")) - 1)


def weights(matches: Matches, queries: int, photos: int, scale: float) -> NDArray[np.float32]:
    """Return the weight [M] of each match: less for far ones, and for features that match many.

    The distance counts as in Hamming embedding (Jegou et al. 2008), exp(-(d / scale)^2); the share
    of photos that a feature matches as in text search, by the logarithm of its inverse.
    """
    matched = np.bincount(matches.query, minlength=queries)
    rare = np.log(photos / np.maximum(matched, 1))
    near = np.exp(-((matches.distance / scale) ** 2))
    return (rare[matches.query] * near).astype(np.float32)
