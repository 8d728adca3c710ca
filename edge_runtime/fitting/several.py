"""Several photos of one thing: how far their mean similarity is lower and less spread than one's.

The mean over photos of one stranger differs from the similarity of one photo in two ways. Its
spread is smaller, but only as far as photos of one stranger differ; what the strangers themselves
differ in remains (variance components; Searle, Casella & McCulloch 1992). And its mean is lower:
one photo counts with the label that it resembles most, several with the one that all of them
resemble, and that is a different label for each photo. Both are measured in the gallery, on pairs
of photos of one label that are compared with all labels but their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNRELATED, IDENTICAL = 0.7, 0.98
"""Cosines of the features of two photos of one thing: up to the first, they have nothing in common
beyond the thing itself; from the second on, they are the same picture."""
PRIOR_LABELS = 10
"""Labels with pairs at which half of what they tell is believed. Without any, several photos are
judged like one, which names fewer strangers than asked for."""


@dataclass(frozen=True)
class Several:
    """What several photos of one stranger have over one of them."""

    drop: float = 0.0
    """How much lower the mean similarity to the best label is with many unrelated photos."""
    between: float = 1.0
    """Share of the variance of one photo that remains with many unrelated photos."""


def likeness(cosines: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return how much pictures repeat each other, 0 to 1, from the cosines of their features."""
    alike: NDArray[np.float64] = np.clip((cosines - UNRELATED) / (IDENTICAL - UNRELATED), 0, 1)
    return alike


def several(
    single: NDArray[np.floating],
    both: NDArray[np.floating],
    cosines: NDArray[np.floating],
    labels: int,
) -> Several:
    """Estimate from N pairs of photos of `labels` labels; each pair is of one label.

    `single` [N, 2] is the similarity of each photo to its most similar foreign label, `both` [N]
    the mean similarity of the pair to the foreign label where that is highest. `cosines` [N] are
    those of their features.
    """
    # The mean of two photos that are alike by a has the variance of that of 2 / (1 + a) unrelated.
    rest = (1 + likeness(cosines)) / 2
    lost = float((1 - rest).sum())
    if labels < 2 or lost < 1:
        return Several()
    drop = max(float((single.mean(axis=1) - both).sum()) / lost, 0.0)
    left = both + drop * (1 - rest)
    share = float(left.var()) / max(float(single.var()), 1e-9)
    between = (share - float(rest.mean())) / (1 - float(rest.mean()))
    weight = labels / (labels + PRIOR_LABELS)
    return Several(weight * drop, 1 - weight * (1 - min(max(between, 0.0), 1.0)))
