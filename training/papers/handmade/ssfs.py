"""SSFS: space-saliency selection of fingerprints, then hash codes (Wang et al. 2016).

The paper's text was not available. What follows is rebuilt from its title and what the seed paper
and the survey say of it; the formulas are ours. Only those local features ("fingerprints") of a
photo are kept that attract the eye, and only those stored ones that tell their place from the
others. The kept ones are hashed, and vote with the weight of
how well they tell their place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.papers.handmade.gallery import Gallery, make_gallery, weights
from training.papers.handmade.local_features import Floats, LocalFeatures
from training.papers.handmade.prepared import Prepared
from training.papers.handmade.tables import Rows
from training.papers.handmade.voting import votes

BITS = 64
"""Bits of a feature."""
SALIENT, DISTINCT = 100, 75
"""Features of a photo that are kept for their saliency, and of a stored one in the end."""
_SCALE = 8.0


def salient_rows(query: Prepared, most: int = SALIENT) -> Rows:
    """Return the rows of the `most` most salient features, the most salient first."""
    return np.argsort(-query.salient, kind="stable")[:most]


def distinctness(gallery: Gallery, photos: Sequence[LocalFeatures], places: Rows) -> Floats:
    """Return [F] how well each stored feature tells its place: 0 (not at all) to 1.

    `places` [photos] is the place of each stored photo. A feature's matches in other photos are
    counted: the share of those of its own place, after adding a quarter of a match of its own and
    three quarters of one of another. A feature without matches has 0.25.
    """
    result = []
    for number, features in enumerate(photos):
        matches = gallery.match(features, radius=0)
        other = matches.photo != number
        here = places[matches.photo] == places[number]
        right = np.bincount(matches.query[other & here], minlength=len(features))
        wrong = np.bincount(matches.query[other & ~here], minlength=len(features))
        result.append((right + 0.25) / (right + wrong + 1))
    return np.concatenate(result).astype(np.float32)


class Ssfs:
    """Ranks stored photos for a query."""

    stages = ("salient features", "salient and distinct features")

    def __init__(self, photos: Sequence[Prepared], places: Rows, seed: int) -> None:
        """Index `photos`, whose `places` int64 [photos] are known. `seed`: see `Vhb`."""
        chosen = [each.features.rows(salient_rows(each)) for each in photos]
        every = make_gallery(chosen, BITS, seed)
        telling = distinctness(every, chosen, places)
        kept, telling_kept = [], []
        ends = np.cumsum([len(each) for each in chosen])
        for features, end in zip(chosen, ends, strict=True):
            own = telling[end - len(features) : end]
            rows = np.argsort(-own, kind="stable")[:DISTINCT]
            kept.append(features.rows(rows))
            telling_kept.append(own[rows])
        self._all, self._kept = every, make_gallery(kept, BITS, seed)
        self._telling = np.concatenate(telling_kept)
        self._roots = [
            np.sqrt([max(len(each), 1) for each in side]).astype(np.float32)
            for side in (chosen, kept)
        ]

    def scores(self, query: Prepared) -> list[Floats]:
        """Return the scores [photos] of each stage; more is better."""
        features = query.features.rows(salient_rows(query))
        found = []
        for gallery, roots in zip((self._all, self._kept), self._roots, strict=True):
            matches = gallery.match(features)
            weight = weights(matches, len(features), gallery.photos, _SCALE)
            if gallery is self._kept:
                weight = weight * self._telling[matches.stored]
            found.append(votes(matches, weight, gallery.photos) / roots)
        return found

    @staticmethod
    def sent(query: Prepared) -> list[int]:
        """Return the bytes that a query of each stage takes."""
        return [min(len(query.features), SALIENT) * (BITS // 8)] * 2

    @staticmethod
    def ms(query: Prepared) -> list[float]:
        """Return the CPU milliseconds that computing a query of each stage takes."""
        return [query.ms[0] + query.ms[1]] * 2
