"""CSQ (Yuan et al. 2020): central similarity with quantization.

Compared with the authors' code (github.com/yuanli2333/Hadamard-Matrix-for-hashing, train.py): the
terms and their weights are the same. Its third term, on pairs of the batch, is not in the title of
the method; it weighs 0.2 there and 0 here by default. Its centers are rows of a Hadamard matrix,
for which the bits must be a power of two; `spread_targets` finds centers for any number of bits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.methods.base import Head, spread_targets
from training.methods.survey.pairs import mean_over_pairs, negative_log_likelihood, similarity


class CSQ(Head):
    """Binary cross-entropy of activations and the hash center of their class, plus quantization."""

    quantization = 0.05
    """Weight of the mean of (|y| - 1)^2 for the outputs y = tanh(W f + e)."""
    pairwise = 0.0
    """Weight of the likelihood of pairs with the slope 10 / K, as in HashNet."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.centers: Tensor
        self.register_buffer("centers", (spread_targets(classes, bits) + 1) / 2)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the central similarity of (y + 1) / 2 plus the other terms."""
        logits = self.hash(features)
        outputs = torch.tanh(logits)  # (y + 1) / 2 is the sigmoid of twice the logits
        central = functional.binary_cross_entropy_with_logits(2 * logits, self.centers[targets])
        loss: Tensor = central + self.quantization * (outputs.abs() - 1).square().mean()
        if self.pairwise:
            products = 10 / self.bits * outputs @ outputs.T
            likelihood = negative_log_likelihood(products, similarity(targets))
            loss = loss + self.pairwise * mean_over_pairs(likelihood)
        return loss
