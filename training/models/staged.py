"""A network as a row of units, of which the first may be frozen and their maps stored."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn


class Staged(nn.Module):
    """Units in a row: float [N, 3, S, S] in [-1, 1] -> features float [N, F].

    A subclass calls `__init__` with its units and says in `gather` what becomes of the last map.
    """

    limit = 6.0
    """Largest value that a stored map keeps; the smallest is 0, as after ReLU."""

    def __init__(self, units: list[nn.Sequential], features: int, width: float):
        super().__init__()
        self.width = width
        self.units = nn.Sequential(*units)
        self.features = features
        self.frozen = 0
        self.kept_norms = False
        """Whether batch norms use and keep their means and variances in training, too."""
        self.from_maps = False
        """Whether the input is what the frozen units make of images, instead of images."""

    def freeze(self, units: int) -> None:
        """Freeze the first `units`, including their batch norm statistics.

        The first ones detect general edges and textures. Their maps are large, so training them
        would take a large part of the time of a step.
        """
        self.frozen = units
        self.units[:units].requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode as in torch, but frozen units and kept norms stay in evaluation mode."""
        super().train(mode)
        self.units[: len(self.units) if self.kept_norms else self.frozen].eval()
        return self

    def maps(self, x: Tensor) -> Tensor:
        """Return what the frozen units make of images: float [N, C, H, W], 0 or more."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen == 0):
            early: Tensor = self.units[: self.frozen](x)
        return early

    def gather(self, last: Tensor) -> Tensor:
        """Return the features float [N, F] of what the last unit makes."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the features float [N, F]."""
        if not self.from_maps:
            x = self.maps(x)
        return self.gather(self.units[self.frozen :](x))
