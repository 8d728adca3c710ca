"""SH-BDNN (Do, Doan & Cheung 2016, "Learning to Hash with Binary Deep Neural Network").

The supervised objective of the source (section 3, with m images, K bits and outputs H) alternates
between the network and B = sign(H). Here each batch takes B from its own outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import similarity


class BDNN(Head):
    """Similarity, quantization, independence and balance of linear outputs.

    J = |H'H / K - S|^2 / 2m + l2 |H - B|^2 / 2m + l3 |HH' / m - I|^2 / 2 + l4 |H 1|^2 / 2m, with
    S_ij = +-1. The decay of the weights, l1, is that of the optimizer.
    """

    quantization = 5.0
    """lambda_2 of the source."""
    independence = 1.0
    """lambda_3 of the source."""
    balance = 1e-4
    """lambda_4 of the source."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return J / m for the m images of the batch."""
        outputs = self.hash(features)
        count = len(outputs)
        wanted = 2 * similarity(targets) - 1
        similar = (outputs @ outputs.T / self.bits - wanted).square().sum() / (2 * count)
        away = (outputs - torch.sign(outputs).detach()).square().sum() / (2 * count)
        same = torch.eye(self.bits, device=outputs.device)
        dependent = (outputs.T @ outputs / count - same).square().sum() / 2
        unbalanced = outputs.sum(0).square().sum() / (2 * count)
        loss: Tensor = (similar + self.quantization * away + self.independence * dependent
                        + self.balance * unbalanced)  # fmt: skip
        return loss / count
