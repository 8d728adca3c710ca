"""SSDH (Yang, Lin & Chen 2018): the latent layer with binary and balanced activations.

Compared with the authors' code (github.com/kevinlin311tw/Caffe-DeepBinaryCode, its layers
K1_EuclideanLoss and K2_EuclideanLoss and its network for CIFAR-10): the terms are the same. There
the two added terms are halves of the means, so that `weight` is 0.5.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from training.methods.paper import Paper


class SSDH(Paper):
    """Classification error, minus mean (a - 0.5)^2, plus (mean_k(a) - 0.5)^2."""

    weight = 1.0
    """Weight of the two added terms."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return E1 + E2 + E3, as the survey describes SSDH."""
        a = self.activations(features)
        error = functional.cross_entropy(self.classifier(a), targets)
        undecided = -(a - 0.5).square().mean()
        unbalanced = (a.mean(1) - 0.5).square().mean()
        loss: Tensor = error + self.weight * (undecided + unbalanced)
        return loss
