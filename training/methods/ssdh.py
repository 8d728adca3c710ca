"""SSDH (Yang, Lin & Chen 2018): the latent layer with binary and balanced activations."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from training.methods.paper import Paper


class SSDH(Paper):
    """Classification error, minus mean (a - 0.5)^2, plus (mean_k(a) - 0.5)^2; all weights 1."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return E1 + E2 + E3, as the survey describes SSDH."""
        a = self.activations(features)
        error = functional.cross_entropy(self.classifier(a), targets)
        undecided = -(a - 0.5).square().mean()
        unbalanced = (a.mean(1) - 0.5).square().mean()
        loss: Tensor = error + undecided + unbalanced
        return loss
