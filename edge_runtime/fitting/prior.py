"""What a model knows about features before a gallery has any: the file NAME.prior.npz beside it.

The file holds the covariance of features within a label and features of a thousand photos, both
measured on the photos that the model was trained with. A model without this file is fitted from
the gallery alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelInvalidError
from edge_runtime.fitting.quantized import Floats
from edge_runtime.model import ModelInfo, find_prior
from edge_runtime.system.npz import BrokenNpzError, open_npz

MOST_ROWS = 10_000
"""Photos in the background of a prior; about a thousand are written."""


@dataclass(frozen=True, eq=False)
class FeaturePrior:
    """The statistics of features of photos that are not in the gallery."""

    within: NDArray[np.float64]
    """float64 [F, F]: covariance within a label of features of length 1."""


def prior_of(model: ModelInfo) -> FeaturePrior | None:
    """Read the prior of a model; None if it has none. Raises `ModelInvalidError`."""
    path = find_prior(model.path) if model.path and model.features else None
    return None if path is None else read_prior(path, model.features)


def read_prior(path: Path, features: int) -> FeaturePrior:
    """Read the prior at `path` for `features` features; raises `ModelInvalidError`."""
    try:
        with open_npz(path) as file:
            packed = file.array("within", "f", 8, (features * (features + 1) // 2,)).whole()
            rows = file.array("background", "fi", 8, (None, features), MOST_ROWS)
            background = rows.whole()
            row_scales = file.array("background_scale", "f", 8, (rows.count,)).whole()
            scale = float(file.array("within_scale", "f", 8, ()).only())
    except (OSError, BrokenNpzError) as error:
        what = f"it is not for {features} features, or damaged: {error!s:.200}"
        raise _invalid(path, what) from error
    if not np.isfinite(packed).all() or not np.isfinite(scale):
        raise _invalid(path, "a value is not a finite number")
    squares = np.square(background.astype(np.float64)).sum(axis=1) * np.square(row_scales)
    if not np.isfinite(squares).all() or not len(squares) or squares.mean() <= 0:
        raise _invalid(path, "its background is not usable")
    # The file is about features as the network gives them; here they have length 1.
    within = np.zeros((features, features))
    within[np.triu_indices(features)] = packed.astype(np.float64) * (scale / squares.mean())
    within += np.triu(within, 1).T
    return FeaturePrior(within)


def _invalid(path: Path, what: str) -> ModelInvalidError:
    return ModelInvalidError(what, where=path, remedy="copy the file of the model again")


def scatter(features: Floats, labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
    """Return the scatter within labels, float64 [F, F], and its degrees of freedom.

    `features` is float32 [N, F], `labels` int64 [N] counts from 0. The scatter is the sum of the
    outer products of the deviations from the label means.
    """
    means, counts = label_means(features, labels)
    deviations = features - means[labels]
    return (deviations.T @ deviations).astype(np.float64), int(len(features) - len(counts))


def label_means(features: Floats, labels: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Return the mean of each label, float32 [L, F], and its number of rows, int64 [L]."""
    counts = np.bincount(labels)
    order = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(features[order], starts, axis=0)
    means: Floats = (sums / counts[:, np.newaxis]).astype(np.float32)
    return means, counts
