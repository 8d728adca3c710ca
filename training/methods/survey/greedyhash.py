"""GreedyHash (Su et al. 2018, "Towards Fast Optimization for Accurate Hash Coding in CNN").

Compared with the authors' code (github.com/ssppp/GreedyHash, cifar1.py): the same loss and
constant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head


class GreedyHash(Head):
    """Cross-entropy of a classifier that sees sign(h), plus alpha mean |h - sign(h)|^3.

    The gradient of the signs passes to h unchanged.
    """

    penalty = 0.1
    """alpha of the source."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.classifier = nn.Linear(bits, classes, bias=False)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of the batch."""
        outputs = self.hash(features)
        signs = torch.sign(outputs).detach()
        passed = outputs + (signs - outputs).detach()
        error = functional.cross_entropy(self.classifier(passed), targets)
        loss: Tensor = error + self.penalty * (outputs.abs() - 1).abs().pow(3).mean()
        return loss
