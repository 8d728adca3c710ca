"""Retrieval figures of any score of stored photos, by the protocol of `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.photo_sets import Photo
from training.eval.metrics import average_precision, precision_at
from training.eval.retrieval import SHUFFLE_SEED, TOP


def figures(
    scores: NDArray[np.float32], database: Sequence[Photo], queries: Sequence[Photo]
) -> tuple[float, float]:
    """Return MAP@100 and P@1 in percent of `scores` [Q, D], more is better.

    The database is shuffled first, as in `evaluate`, so that equal scores favor no label.
    """
    shuffled = np.random.default_rng(SHUFFLE_SEED).permutation(len(database))
    order = shuffled[np.argsort(-scores[:, shuffled], axis=1, kind="stable")]
    names = np.array([photo.label for photo in database])
    relevant = names[order] == np.array([photo.label for photo in queries])[:, None]
    return 100 * float(average_precision(relevant, TOP).mean()), 100 * precision_at(relevant, 1)
