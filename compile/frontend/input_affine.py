"""The affine change of the picture's color channels before the first convolution."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Weights
from compile.frontend.onnx_graph import Affine, Numbers

COLORS = 3
"""Red, green and blue. `InputSpec` normalizes them alike."""


@dataclass(frozen=True)
class ColorAffine:
    """Channel i is color `order[i]` of the picture, times `factor[i]`, plus `shift[i]`."""

    order: NDArray[np.int64] = field(default_factory=lambda: np.arange(COLORS))
    factor: Numbers = field(default_factory=lambda: np.ones(COLORS))
    shift: Numbers = field(default_factory=lambda: np.zeros(COLORS))

    def then(self, change: Affine) -> ColorAffine:
        """Return this transform followed by `change`."""
        factor, shift = change
        return ColorAffine(self.order, self.factor * factor, self.shift * factor + shift)

    def select(self, channels: list[int]) -> ColorAffine:
        """Return the transform of `channels`. Negative indices count from the last channel."""
        return ColorAffine(self.order[channels], self.factor[channels], self.shift[channels])

    @property
    def is_permutation(self) -> bool:
        """Whether each color is present exactly once, with a nonzero factor."""
        return sorted(self.order) == list(range(COLORS)) and bool(self.factor.all())

    def fold_into(self, weight: Weights) -> tuple[Weights, Numbers]:
        """Fold the transform into `weight` [O, 3, window, window].

        Returns weights for the plain colors, and the offset to add to the colors before them. As
        value * factor + shift = (value + shift / factor) * factor, a border of zeros stays one.
        """
        inverse = np.argsort(self.order)
        scaled = weight * self.factor[:, None, None]
        return scaled[:, inverse].astype(np.float32), (self.shift / self.factor)[inverse]
