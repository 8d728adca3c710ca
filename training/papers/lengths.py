"""Train the hash layers of several lengths on one backbone at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from training.methods.base import Head
from training.methods.linear_map import LinearMap


class Lengths(Head):
    """One layer per code length, each with the method's own loss; the loss is their mean.

    The backbone is shared, so a short code profits a little from the losses of longer ones.
    """

    def __init__(self, kind: type[Head], features: int, lengths: Sequence[int], classes: int):
        nn.Module.__init__(self)  # this head has no layer of its own
        self.bits, self.classes, self.lengths = sum(lengths), classes, tuple(lengths)
        self.heads = nn.ModuleList(kind(features, bits, classes) for bits in lengths)
        self.slows = kind.slows

    def begin(self, share: float) -> float:
        """Prepare a step of every layer; they all return the same rate."""
        rates = [head.begin(share) for head in self._heads()]
        return rates[0]

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of the losses of all lengths."""
        return torch.stack([head(features, targets) for head in self.heads]).mean()

    def maps(self) -> dict[int, LinearMap]:
        """Return the linear map of each length."""
        found = (head.linear() for head in self._heads())
        return dict(zip(self.lengths, found, strict=True))

    def linear(self) -> LinearMap:
        """Return the maps of all lengths, one below the other."""
        weights, biases = zip(*self.maps().values(), strict=True)
        return np.concatenate(weights), np.concatenate(biases)

    def _heads(self) -> list[Head]:
        return [head for head in self.heads if isinstance(head, Head)]
