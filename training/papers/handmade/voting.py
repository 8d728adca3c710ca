"""Matches between a query's local features and those of stored photos, and the photos' votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code, hamming
from training.papers.handmade.tables import HashTables, Rows


@dataclass(frozen=True)
class Matches:
    """M pairs of alike features, sorted by photo."""

    query: Rows
    """Row of the query's feature [M]."""
    stored: Rows
    """Row of the stored feature [M]."""
    photo: Rows
    """Row of the stored feature's photo [M]."""
    distance: Rows
    """Hamming distance [M]."""

    def of_photo(self, photo: int) -> Matches:
        """Return the matches with one photo."""
        first, last = np.searchsorted(self.photo, (photo, photo + 1))
        part = slice(int(first), int(last))
        return Matches(self.query[part], self.stored[part], self.photo[part], self.distance[part])


def match(
    tables: HashTables, stored: Code, photo_of: Rows, queries: Code, radius: int, most: int
) -> Matches:
    """Match the codes `queries` [Q, W] with `stored` [N, W], whose photos are `photo_of` [N].

    A pair is found by `tables` within `radius` and differs in at most `most` bits. In each photo, a
    feature belongs to one pair at most: the nearest wins, ties by row.
    """
    asked, found = tables.lookup(queries, radius)
    distance = hamming(queries[asked], stored[found])
    kept = np.flatnonzero(distance <= most)
    for side in (asked, found):  # the nearest of each feature in each photo, on either side
        photo, feature = photo_of[found[kept]], side[kept]
        order = np.lexsort((found[kept], asked[kept], distance[kept], feature, photo))
        photo, feature = photo[order], feature[order]
        first = np.ones(len(order), np.bool_)
        first[1:] = (photo[1:] != photo[:-1]) | (feature[1:] != feature[:-1])
        kept = kept[order[first]]
    return Matches(asked[kept], found[kept], photo_of[found[kept]], distance[kept])


def votes(matches: Matches, weights: NDArray[np.float32], photos: int) -> NDArray[np.float32]:
    """Return the sum [photos] of the weights [M] of each photo's matches."""
    return np.bincount(matches.photo, weights, minlength=photos).astype(np.float32)
