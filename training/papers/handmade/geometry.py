"""Verify matches by length ratios and angles, much cheaper than RANSAC (He et al. 2012).

If a photo shows the query's object, turned and scaled, then the distance between two features of
the query, divided by that of their matches, is the same for all pairs, and all features turned by
the same angle. The score counts the pairs that agree on both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATIO_BINS_PER_OCTAVE, OCTAVES = 4, 3
"""Ratios from 1/8 to 8 are counted, in bins of a quarter octave."""
MOST_TURN = 30.0
"""Degrees that two features of a pair may turn differently."""
_LEAST = 1.5 / 255
"""Pairs of features nearer than this have no reliable length."""


def agreement(query: tuple[Floats, Floats], stored: tuple[Floats, Floats]) -> float:
    """Return how many of M matched features agree on one scale and one turn, about.

    Each side gives places [M, 2] and angles [M] in degrees. With m agreeing features there are
    m (m - 1) / 2 agreeing pairs; m is returned, from the fullest bin of the ratios. 0 without
    pairs.
    """
    (places, angles), (other_places, other_angles) = query, stored
    if len(angles) < 2:
        return 0.0
    one, two = np.triu_indices(len(angles), 1)
    length = np.linalg.norm(places[one] - places[two], axis=1)
    other_length = np.linalg.norm(other_places[one] - other_places[two], axis=1)
    turn = (angles - other_angles).astype(np.float64)
    apart = np.abs((turn[one] - turn[two] + 180) % 360 - 180)
    sound = (length > _LEAST) & (other_length > _LEAST) & (apart <= MOST_TURN)
    octaves = np.log2(length[sound] / other_length[sound])
    bins = np.floor(octaves * RATIO_BINS_PER_OCTAVE + 0.5).astype(np.int64)
    limit = OCTAVES * RATIO_BINS_PER_OCTAVE
    bins = bins[np.abs(bins) <= limit]
    fullest = np.bincount(bins + limit).max() if len(bins) else 0
    return float((1 + np.sqrt(1 + 8 * fullest)) / 2) if fullest else 0.0
