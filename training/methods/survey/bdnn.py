"""SH-BDNN (Do, Doan & Cheung 2016, "Learning to Hash with Binary Deep Neural Network").

The supervised objective of the source, with m images, K bits and outputs H, alternates between the
network and B = sign(H). Here each batch takes B from its own outputs.

Compared with the authors' code (github.com/dadung/sh-bdnn, cost and weights of its terms): the
terms are the same. There, 30,000 images are one batch. The first and the last term grow with the
square of their number and the others do not, so the weights of the others are divided by it here.
Their network has three layers, the first two with sigmoid, and is fitted by L-BFGS.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import similarity


class BDNN(Head):
    """Similarity, quantization, independence and balance of linear outputs.

    J = |H'H / K - S|^2 / 2m + l2 |H - B|^2 / 2m + l3 |HH' / m - I|^2 / 2 + l4 |H 1|^2 / 2m, with
    S_ij = +-1. The decay of the weights, l1, is that of the optimizer. The authors' weights are
    divided by that of the similarity, 0.01.
    """

    quantization = 5.0
    """lambda_2 of the source."""
    independence = 1.0
    """lambda_3 of the source."""
    balance = 5e-5
    """lambda_4 of the source."""
    images = 30_000
    """m, the training images of the source."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return J / m for m = `images`, with means over the batch for those over all images."""
        outputs = self.hash(features)
        wanted = 2 * similarity(targets) - 1
        similar = (outputs @ outputs.T / self.bits - wanted).square().mean() / 2
        away = (outputs - torch.sign(outputs).detach()).square().sum(1).mean() / 2
        same = torch.eye(self.bits, device=outputs.device)
        dependent = (outputs.T @ outputs / len(outputs) - same).square().sum() / 2
        unbalanced = outputs.mean(0).square().sum() / 2
        few = (self.quantization * away + self.independence * dependent) / self.images
        loss: Tensor = similar + few + self.balance * unbalanced
        return loss
