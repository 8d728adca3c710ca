"""DHN (Zhu et al. 2016, "Deep Hashing Network for Efficient Similarity Retrieval").

Compared with the authors' code: the terms and `quantization` are those of the repository
github.com/thuml/hash-caffe (its pairwise and quantization layers and its network for NUS-WIDE). In
their later library (github.com/thulab/DeepHash, "dhn") the product of two codes is their cosine,
times a factor: `slope`. Without it, pairs of long codes have a product so large that they no longer
count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import mean_over_pairs, negative_log_likelihood, similarity


class DHN(Head):
    """Pairwise cross-entropy L plus lambda Q, the loss of a bimodal Laplacian prior.

    For z = tanh(W f + e): L is the mean over pairs of log(1 + exp(z_i z_j)) - s_ij z_i z_j, and Q
    the mean over images of the sum of log cosh(|z_ik| - 1) over the bits.
    """

    quantization = 0.2
    """lambda of the authors' code."""
    slope: float | None = None
    """Factor on the product of two codes, times the number of bits; None for the plain product."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return L + lambda Q of the batch."""
        codes = torch.tanh(self.hash(features))
        factor = 1.0 if self.slope is None else self.slope / self.bits
        products = factor * codes @ codes.T
        pairs = mean_over_pairs(negative_log_likelihood(products, similarity(targets)))
        away = torch.log(torch.cosh(codes.abs() - 1)).sum(1)
        loss: Tensor = pairs + self.quantization * away.mean()
        return loss
