"""DHN (Zhu et al. 2016, "Deep Hashing Network for Efficient Similarity Retrieval")."""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import mean_over_pairs, negative_log_likelihood, similarity


class DHN(Head):
    """Pairwise cross-entropy L plus lambda Q, the loss of a bimodal Laplacian prior.

    For z = tanh(W f + e): L sums log(1 + exp(z_i z_j)) - s_ij z_i z_j and Q sums
    log cosh(|z_ik| - 1) of both images over the pairs (source, equations 4 to 7).
    """

    quantization = 0.05
    """lambda of the source."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of L + lambda Q over the pairs of the batch."""
        codes = torch.tanh(self.hash(features))
        pairs = mean_over_pairs(negative_log_likelihood(codes @ codes.T, similarity(targets)))
        away = torch.log(torch.cosh(codes.abs() - 1)).sum(1)
        loss: Tensor = pairs + self.quantization * 2 * away.mean()
        return loss
