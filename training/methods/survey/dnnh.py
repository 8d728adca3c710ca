"""DNNH (Lai et al. 2015, "Simultaneous Feature Learning and Hash Coding"): triplet ranking.

The divide-and-encode module gives every bit its own slice of the features.

Authors' code was not found (its download page is not stored). Compared with a third party's code
built from it (github.com/HYPJUDY/caffe-dnnh): slices, sigmoid and ranking loss are the same. Its
slices have 50 features, its margin is 2 for 12 bits, and it trains without the threshold of
`middle`, which could not be checked.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.methods.base import Head
from training.methods.linear_map import LinearMap
from training.methods.survey.pairs import draw_triplets, squared_distances


class DNNH(Head):
    """max(0, |F - F+|^2 - |F - F-|^2 + 1) for codes F in [0, 1]."""

    triplets = 20
    """Triplets per image of a batch."""
    middle = 0.45
    """Values within it of 0.5 pass, the others become 0 or 1."""
    margin = 1.0

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.slices: Tensor
        self.register_buffer("slices", slices(features, bits))
        with torch.no_grad():  # a slice has fewer inputs than the whole layer
            self.hash.weight *= (features / self.slices.sum(1, keepdim=True)) ** 0.5

    def codes(self, features: Tensor) -> Tensor:
        """Return the codes F, float [N, K]."""
        values = functional.linear(features, self.hash.weight * self.slices, self.hash.bias)
        return threshold(torch.sigmoid(values), self.middle)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of random triplets of the batch."""
        distances = squared_distances(self.codes(features))
        image, near, far = draw_triplets(targets, self.triplets)
        if len(image) == 0:
            return distances.sum() * 0
        apart = distances[image, near] - distances[image, far] + self.margin
        return apart.clamp_min(0).mean()

    def linear(self) -> LinearMap:
        """Return the layer with zeros outside of the slices; 0.5 is the middle of its sigmoid."""
        weight, bias = super().linear()
        return weight * self.slices.numpy(), bias


def slices(features: int, bits: int) -> Tensor:
    """Return which features each bit sees, 0 or 1, float [bits, features]: parts of equal size.

    With more bits than features, several bits see the same one.
    """
    place = torch.arange(features)
    if bits > features:
        return (torch.arange(bits)[:, None] % features == place).float()
    return (place * bits // features == torch.arange(bits)[:, None]).float()


def threshold(values: Tensor, middle: float) -> Tensor:
    """Return 0 below 0.5 - middle, 1 above 0.5 + middle, and the value between."""
    above = torch.where(values > 0.5 + middle, torch.ones_like(values), values)
    return torch.where(values < 0.5 - middle, torch.zeros_like(values), above)
