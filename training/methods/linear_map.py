"""Define the interface of a method without gradient training: a linear map of features.

The signs of the values are the bits. Importing this module does not import torch.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LinearMap = tuple[Floats, Floats]  # weight [K, F], bias [K]: bit k = (weight f + bias)_k > 0


class Method(Protocol):
    """Unsupervised method that fits a linear map to features."""

    def __call__(self, features: Floats, bits: int, seed: int) -> LinearMap:
        """Fit to features float32 [N, F]; return weight [bits, F] and bias [bits]."""
        ...


class LabelledMethod(Protocol):
    """Method in closed form that fits a linear map to features and their labels."""

    def __call__(
        self, features: Floats, labels: NDArray[np.int64], bits: int, seed: int
    ) -> LinearMap:
        """Fit to features float32 [N, F] and labels int64 [N]; return weight [bits, F] and bias."""
        ...
