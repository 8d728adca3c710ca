"""VHB: product search with a bag of hash bits and boundary reranking (He et al. 2012).

A query is the hash bits, place and angle of each local feature, and the boundary feature of the
object. Stored photos get votes from alike features; those with the most are verified by geometry,
and ranked by that and the likeness of the outlines.

The paper's text was not available. The method is rebuilt from its abstract, a review and what is
commonly known of it; weights and limits are our own, chosen on held-out photos of ie_tower.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.papers.handmade.boundary import FREQUENCIES, likeness
from training.papers.handmade.gallery import make_gallery, weights
from training.papers.handmade.geometry import agreement
from training.papers.handmade.local_features import Floats
from training.papers.handmade.prepared import Prepared
from training.papers.handmade.voting import votes

BITS = 80
"""Bits of a feature."""
VERIFIED = 100
"""Photos with the most votes, which are verified and reranked."""
OUTLINE = 0.5
"""Weight of the outlines' likeness, beside the score of the geometry divided by its largest."""
_SCALE = 10.0
_BYTES = BITS // 8 + 3  # x, y and angle: one byte each


class Vhb:
    """Ranks stored photos for a query."""

    stages = ("votes", "votes and geometry", "votes, geometry and outline")

    def __init__(self, photos: Sequence[Prepared], seed: int) -> None:
        """Index `photos`. `seed` is that of the bits' start, their sample and the tables."""
        stored = [each.features for each in photos]
        self._gallery = make_gallery(stored, BITS, seed)
        self._roots = np.sqrt([max(len(each), 1) for each in stored]).astype(np.float32)
        self._edges = np.stack([each.boundary for each in photos])

    def scores(self, query: Prepared) -> list[Floats]:
        """Return the scores [photos] of each stage; more is better."""
        gallery, features = self._gallery, query.features
        matches = gallery.match(features)
        weight = weights(matches, len(features), gallery.photos, _SCALE)
        voted = votes(matches, weight, gallery.photos) / self._roots
        first = np.argsort(-voted, kind="stable")[:VERIFIED]
        first = first[voted[first] > 0]
        agreed = np.zeros(len(first), np.float32)
        for row, photo in enumerate(first):
            own = matches.of_photo(int(photo))
            agreed[row] = agreement(
                (features.places[own.query], features.angles[own.query]),
                (gallery.places[own.stored], gallery.angles[own.stored]),
            )
        verified = voted.copy()
        largest = voted.max(initial=0)
        # Below a verified photo come the others, in the order of their votes.
        verified[first] = largest * (1 + voted[first] / max(largest, 1e-9) + agreed)
        reranked = verified.copy()
        if len(first):
            share = verified[first] / verified[first].max()
            share += OUTLINE * likeness(query.boundary, self._edges[first])
            reranked[first] = largest * (1 + share)
        return [voted, verified, reranked]

    @staticmethod
    def sent(query: Prepared) -> list[int]:
        """Return the bytes that a query of each stage takes."""
        features = len(query.features)
        return [features * (BITS // 8), features * _BYTES, features * _BYTES + FREQUENCIES]

    @staticmethod
    def ms(query: Prepared) -> list[float]:
        """Return the CPU milliseconds that computing a query of each stage takes."""
        return [query.ms[0], query.ms[0], query.ms[0] + query.ms[2]]
