"""DSRH (Zhao et al. 2015, "Deep Semantic Ranking Based Hashing for Multi-Label Image Retrieval").

The source ranks by the number of common labels r, with weights (2^r_i - 2^r_j) / Z of NDCG for a
pair in the wrong order. With one label per image there are two levels, r = 1 and r = 0. Every
triplet then has the same weight, and the surrogate is a plain triplet ranking loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import draw_triplets


class DSRH(Head):
    """[d(q, similar) - d(q, other) + rho]_+ plus the balance of the bits (source, eq. 8 and 9)."""

    triplets = 20
    """Triplets per image of a batch."""
    margin = 0.125
    """rho, as a share of the bits."""
    balance = 1.0
    """alpha, the weight of the squared mean of each bit."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over random triplets, in shares of the bits, plus the balance.

        For codes h in [-1, 1] the difference of two Hamming distances is the half difference of
        inner products (source, section 3.3).
        """
        codes = 2 * torch.sigmoid(self.hash(features)) - 1
        products = codes @ codes.T / (2 * self.bits)
        image, near, far = draw_triplets(targets, self.triplets)
        balance = self.balance / 2 * codes.mean(0).square().mean()
        if len(image) == 0:
            return balance
        apart = products[image, far] - products[image, near] + self.margin
        return apart.clamp_min(0).mean() + balance
