"""CSQ (Yuan et al. 2020): central similarity with quantization."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.methods.base import Head, spread_targets

QUANTIZATION = 1e-4  # lambda_1 of the source


class CSQ(Head):
    """Binary cross-entropy of activations and the hash center of their class, plus quantization."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.centres: Tensor
        self.register_buffer("centres", (spread_targets(classes, bits) + 1) / 2)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return L_C + lambda_1 L_Q (source, equations 4 to 8) with log cosh as the smooth L1."""
        logits = self.hash(features)
        central = functional.binary_cross_entropy_with_logits(logits, self.centres[targets])
        away = (2 * torch.sigmoid(logits) - 1).abs() - 1
        quantization = torch.log(torch.cosh(away)).sum(1).mean()
        loss: Tensor = central + QUANTIZATION * quantization
        return loss
