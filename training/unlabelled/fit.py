"""Fit a hash layer to features of photos without labels."""

from __future__ import annotations

from collections.abc import Sequence

from training.methods import UNLABELLED, UNSUPERVISED
from training.methods.linear_map import Floats, LinearMap

NAMES = {"contrastive": "cibhash"}
"""Other names of methods."""
TRAINED = ("contrastive", "deepbit")
"""Methods that are trained and give a linear layer; they need torch and augmented views."""
METHODS = (*UNSUPERVISED, *TRAINED)
EPOCHS = 60


def fit_without_labels(
    passes: Sequence[Floats], method: str, bits: int, seed: int, epochs: int = EPOCHS
) -> LinearMap:
    """Fit a layer (weight [K, F], bias [K]) to features float32 [N, F] of each pass.

    The clean pass comes first; methods in closed form use it alone. The others raise
    ExtraMissingError if torch is not installed.
    """
    if method in UNSUPERVISED:
        return UNSUPERVISED[method](passes[0], bits, seed)
    trained = UNLABELLED[NAMES.get(method, method)]
    from training.methods.unlabelled.base import Budget, train_unlabelled  # needs torch

    return train_unlabelled(trained, passes, bits, seed, Budget(epochs=epochs)).linear()
