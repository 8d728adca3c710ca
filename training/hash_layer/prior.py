"""The feature prior of a model: what its features look like before a gallery has photos.

It lies beside the model, as NAME.prior.npz, with these arrays; F is the length of the features:

    mean              float32 [F]            mean feature
    within            float16 [F (F + 1) / 2]  pooled covariance within labels, divided by
                                             within_scale: upper triangle, row by row
    within_scale      float32
    dof               int64                  degrees of freedom of that covariance
    background        int8 [B, F]            features of photos of the world, each row divided by
                                             its background_scale
    background_scale  float32 [B]
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.input_tensor import Floats
from training.data.photo_sets import Photo, label_indices
from training.files import write_bytes
from training.methods.whitened import covariance_within

PER_LABEL = 5
"""Most photos of one label in the background."""
_LARGEST = 2.0**14
"""Largest stored value of the covariance. float16 ends at 65504, and keeps its full precision down
to a 268-millionth of this."""


def feature_prior(
    features: Floats, photos: Sequence[Photo], world: Floats, seed: int
) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a prior.

    `features` float32 [N, F] are those of labelled `photos`; `world` float32 [M, F] those of photos
    that only join the background.
    """
    index = label_indices(photos)
    labels = np.array([index[photo.label] for photo in photos], np.int64)
    within, freedom = covariance_within(features, labels)
    scale = np.float32(np.abs(within).max() / _LARGEST or 1.0)
    triangle = within[np.triu_indices(len(within))] / scale
    background = np.concatenate([features[_spread(labels, seed)], world])
    row_scale = np.maximum(np.abs(background).max(1), 1e-6).astype(np.float32) / np.float32(127)
    return {
        "mean": features.mean(0, dtype=np.float64).astype(np.float32),
        "within": triangle.astype(np.float16),
        "within_scale": np.asarray(scale),
        "dof": np.asarray(freedom, np.int64),
        "background": np.rint(background / row_scale[:, None]).astype(np.int8),
        "background_scale": row_scale,
    }


def write_prior(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write the arrays of a prior to `path` atomically; raises StorageError when this fails."""
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays)
    write_bytes(path, data.getvalue())


def _spread(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the rows of at most `PER_LABEL` photos of each of `labels` [N], in order."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:PER_LABEL] for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))
