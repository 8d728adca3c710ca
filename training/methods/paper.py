"""The paper's method: cross-entropy through the sigmoid latent layer (Qi, Liu & Liu 2017, s. 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head


class Paper(Head):
    """Softmax classification error of a classifier that sees only the activations (eq. 3)."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.classifier = nn.Linear(bits, classes)

    def activations(self, features: Tensor) -> Tensor:
        """Return a = sigmoid(W f + e), float [N, K]."""
        return torch.sigmoid(self.hash(features))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of softmax(V a + b)."""
        return functional.cross_entropy(self.classifier(self.activations(features)), targets)
