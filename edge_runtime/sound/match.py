"""Find the enrolled sounds that are the same recording as a query's, by Hamming distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import hamming
from edge_runtime.sound.fingerprint import BITS, PER_SECOND, Fingerprints

STEP = 8
"""Every eighth fingerprint of the query is compared: those between share most of their sound."""
MOST_COMPARED = 160
"""Fingerprints of the query that are compared: 15 s. Bounds the time."""
LEAST_COMPARED = 12
"""Fingerprints that an alignment needs: a second of sound that both have."""
SAME_RATE = 0.40
"""Share of differing bits up to which two sounds may be one recording. Haitsma & Kalker use 0.35
for all fingerprints of 3 s."""
SAME_Z = 6.0
"""How many standard deviations below one half the share must be, too, so that a short overlap must
match better. Of 10,000 alignments of foreign sounds, none is as far below
(`python -m training papers clips`)."""
SPREAD = 1.5
"""Standard deviation of the differing bits of foreign sounds, as a multiple of that of coin tosses:
neighboring bands and frames are not independent."""


@dataclass(frozen=True)
class SoundMatch:
    """The best alignment of a query with one enrolled sound."""

    index: int
    """Index of the enrolled sound."""
    bit_error_rate: float
    """Share of the compared bits that differ."""
    z: float
    """How many standard deviations this is below one half, what foreign sounds have."""
    offset_s: float
    """Seconds by which the query begins later than the enrolled sound."""

    @property
    def same(self) -> bool:
        """Whether it is the same recording."""
        return self.bit_error_rate <= SAME_RATE and self.z >= SAME_Z


def best_alignment(query: Fingerprints, stored: Fingerprints) -> tuple[float, float, int] | None:
    """Return bit error rate, z and offset of the best alignment of two sounds; None if too short.

    The offset is the place in `stored` at which `query` begins, possibly negative. Every offset is
    tried. Silent fingerprints are not compared.
    """
    places = np.flatnonzero(query[::STEP])[:MOST_COMPARED] * STEP
    if len(places) < LEAST_COMPARED or not len(stored):
        return None
    reach = int(places[-1])
    asked = query.astype(np.uint64)
    padded = np.concatenate([np.zeros(reach, np.uint64), stored, np.zeros(reach, np.uint64)])
    count = len(stored) + reach
    differing = np.zeros(count, np.int64)
    compared = np.zeros(count, np.int64)
    for place in places.tolist():
        part = padded[place : place + count]
        heard = part != 0
        bits: NDArray[np.int64] = hamming(part[:, np.newaxis], asked[place : place + 1])
        differing += np.where(heard, bits, 0)
        compared += heard
    enough = compared >= LEAST_COMPARED
    if not enough.any():
        return None
    total = BITS * np.maximum(compared, 1)
    rates = differing / total
    z = np.where(enough, (0.5 - rates) * 2 * np.sqrt(total) / SPREAD, -np.inf)
    best = int(z.argmax())
    return float(rates[best]), float(z[best]), best - reach


def find_sounds(query: Fingerprints, stored: Sequence[Fingerprints]) -> list[SoundMatch]:
    """Return the best alignment with each of the `stored` sounds, the surest first."""
    found = []
    for index, each in enumerate(stored):
        best = best_alignment(query, each)
        if best is not None:
            rate, z, offset = best
            found.append(SoundMatch(index, rate, z, offset / PER_SECOND))
    return sorted(found, key=lambda match: -match.z)
