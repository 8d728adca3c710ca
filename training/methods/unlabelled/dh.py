"""DH (Liong, Lu, Wang, Moulin & Zhou 2015, CVPR): a network of three layers with three constraints.

With N images, outputs H of the last layer and B = sign(H), the source minimizes

    |B - H|^2 / 2 - l1 tr(H H') / 2 N + l2 sum |W W' - I|^2 / 2 + l3 sum (|W|^2 + |c|^2) / 2:

the codes lose little, the bits are balanced (their variance is maximal), and the directions are
independent. All terms are divided by N here.

Authors' code was not found, nor the paper's text (looked for on GitHub and in the stored pages).
Compared with a third party's code in TensorFlow, whose docstring gives the weights 1, 100, 0.001
and 0.001: the four terms and these weights are the same. The units of the layers could not be
checked.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from training.methods.unlabelled.base import Budget, Unlabelled, principal

BALANCE, INDEPENDENCE, DECAY = 100.0, 1e-3, 1e-3
"""lambda 1 to 3."""
LAYERS = {16: (60, 30), 32: (80, 50), 64: (100, 80)}
"""Longest code in bits -> units of the two layers below it."""


class DH(Unlabelled):
    """Three layers with tanh, initialized from the principal directions."""

    def __init__(self, features: int, bits: int, hidden: int = 0) -> None:
        """Make the layers; `hidden` is not used."""
        super().__init__(features, bits)
        below = next((units for most, units in LAYERS.items() if bits <= most), (2 * bits, bits))
        sizes = (features, *(max(units, bits) for units in below), bits)
        parts = [[nn.Linear(*pair), nn.Tanh()] for pair in pairwise(sizes)]
        self.encoder = nn.Sequential(*(layer for part in parts for layer in part))
        self.count = 1

    def layers(self) -> list[nn.Linear]:
        """Return the linear layers."""
        return [each for each in self.encoder if isinstance(each, nn.Linear)]

    def prepare(self, features: Tensor, budget: Budget) -> None:
        """Start as in the source: principal directions, then identities, without bias."""
        self.count = len(features)
        first, *others = self.layers()
        with torch.no_grad():
            found = principal(features, len(first.weight)).T
            first.weight.zero_()
            first.weight[: len(found)] = found
            for layer in others:
                layer.weight.copy_(torch.eye(*layer.weight.shape))
            for layer in self.layers():
                layer.bias.zero_()

    def forward(self, views: Tensor) -> Tensor:
        """Return the loss of features [1, B, F], per photo."""
        values = self.values(views[0])
        quantization = (torch.sign(values).detach() - values).square().sum(1).mean() / 2
        variance = values.square().sum(1).mean() / 2
        dependent = torch.stack([
            (each.weight @ each.weight.T - torch.eye(len(each.weight))).square().sum()
            for each in self.layers()
        ]).sum() / 2  # fmt: skip
        size = torch.stack([p.square().sum() for each in self.layers() for p in each.parameters()])
        loss: Tensor = (
            quantization
            + (INDEPENDENCE * dependent + DECAY * size.sum() / 2 - BALANCE * variance) / self.count
        )
        return loss
