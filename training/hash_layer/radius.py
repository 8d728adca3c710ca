"""The radius of a model: the distance beyond which a query counts as unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.calibration import FALSE_NAME_RATE
from training.data.input_tensor import Floats
from training.data.photo_sets import DataError, Photo, label_indices
from training.data.splits import class_split
from training.eval.metrics import OpenSet, distances, open_set_episodes
from training.hash_layer.codes import Passes, to_codes
from training.methods.linear_map import LinearMap

UNSEEN_SHARE, UNSEEN_SEED = 0.2, 5
ENROLLED, EPISODES = 10, 50
MIN_LABELS = 4
"""Two labels to fit a layer to, and two unseen ones to measure the radius on."""


def unseen_labels(photos: Sequence[Photo], queries: Iterable[Photo]) -> set[str]:
    """Choose a fifth of the labels, at least two, to measure the radius on.

    The layer used for the measurement is fitted without them. They are the labels that
    `python -m training train --hold classes` holds out, so its backbone has not seen them either.
    Returns an empty set when `photos` have fewer than four labels, or when no query has one of the
    chosen labels.
    """
    count = len(label_indices(photos))
    if count < MIN_LABELS:
        return set()
    try:
        _, held_out = class_split(photos, max(UNSEEN_SHARE, 2 / count), UNSEEN_SEED)
    except DataError:  # every set has so few labels that the share rounds to none
        return set()
    labels = {photo.label for photo in held_out}
    queried = any(photo.label in labels for photo in queries)
    return labels if queried and len(labels) > 1 else set()


def measure_radius(
    database: Passes, queries: tuple[Sequence[Photo], Floats], labels: Set[str], head: LinearMap
) -> OpenSet:
    """Measure the open set of `labels` with the codes of `head`.

    `queries` are photos and their features float32 [Q, F].
    """
    names = label_indices(database.cache.photos)
    query_labels = np.array([names.get(photo.label, -1) for photo in queries[0]], np.int64)
    database_labels = np.array([names[photo.label] for photo in database.cache.photos], np.int64)
    return open_set_episodes(
        (to_codes(database.features[0], head), database_labels),
        (to_codes(queries[1], head), query_labels),
        np.array(sorted(names[label] for label in labels & names.keys()), np.int64),
        len(head[1]),
    )


def radius_against(
    strangers: Floats, database: Passes, head: LinearMap, named: float = FALSE_NAME_RATE
) -> int:
    """Return the largest radius at which at most `named` of all strangers find a neighbor.

    `strangers` float32 [N, F] are features of photos of no label. As in `measure_radius`, each of
    50 galleries holds all photos of ten labels.
    """
    index = label_indices(database.cache.photos)
    labels = np.array([index[photo.label] for photo in database.cache.photos], np.int64)
    codes, queried = to_codes(database.features[0], head), to_codes(strangers, head)
    rng = np.random.default_rng(1)
    nearest = [
        distances(queried, codes[np.isin(labels, rng.permutation(len(index))[:ENROLLED])]).min(1)
        for _ in range(EPISODES)
    ]
    return largest_radius(np.concatenate(nearest), len(head[1]), named)


def largest_radius(nearest: NDArray[np.integer], bits: int, named: float = FALSE_NAME_RATE) -> int:
    """Return the largest radius that at most a share `named` of strangers is within.

    `nearest` are their distances in bits, int [N], from a gallery.
    """
    accepted = (nearest[:, None] <= np.arange(bits + 1)).mean(0)
    return max(int((accepted <= named).sum()) - 1, 0)
