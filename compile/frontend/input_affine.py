"""What a network does to the colours of the picture before its first convolution."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Weights
from compile.frontend.onnx_graph import Affine, Numbers

COLOURS = 3
"""Red, green and blue, each normalised alike (InputSpec)."""


@dataclass(frozen=True)
class Colours:
    """Channel i is colour `order`[i] of the picture, times `factor`[i], plus `shift`[i]."""

    order: NDArray[np.int64] = field(default_factory=lambda: np.arange(COLOURS))
    factor: Numbers = field(default_factory=lambda: np.ones(COLOURS))
    shift: Numbers = field(default_factory=lambda: np.zeros(COLOURS))

    def changed(self, change: Affine) -> Colours:
        """After `change`."""
        factor, shift = change
        return Colours(self.order, self.factor * factor, self.shift * factor + shift)

    def chosen(self, places: list[int]) -> Colours:
        """The channels `places`, counted from the first or, where negative, from the last."""
        return Colours(self.order[places], self.factor[places], self.shift[places])

    @property
    def whole(self) -> bool:
        """Whether each colour is there, once."""
        return sorted(self.order) == list(range(COLOURS)) and bool(self.factor.all())

    def into(self, weight: Weights) -> tuple[Weights, Numbers]:
        """`weight` [O, 3, window, window] of these channels as one of the colours, and what is to
        be added to these first.

        value * factor + shift is (value + shift / factor) * factor, so that a border of zeros
        around the one is a border of zeros around the other.
        """
        back = np.argsort(self.order)
        scaled = weight * self.factor[:, None, None]
        return scaled[:, back].astype(np.float32), (self.shift / self.factor)[back]
