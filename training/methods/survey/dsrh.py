"""DSRH (Zhao et al. 2015, "Deep Semantic Ranking Based Hashing for Multi-Label Image Retrieval").

The source ranks by the number of common labels r, with weights (2^r_i - 2^r_j) / Z of NDCG for a
pair in the wrong order. With one label per image there are two levels, r = 1 and r = 0. Every
triplet then has the same weight, and the surrogate is a plain triplet ranking loss.

Compared with the authors' code (github.com/zhaofang0627/cuda-convnet-for-hashing, the cost
"locrank"): the hinge of half the difference of inner products, in bits, its margin (5, for 64 bits)
and the balance of the bits are the same. Its gradient of the balance is that of half the squared
mean of each bit, divided by the images of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import draw_triplets


class DSRH(Head):
    """[d(q, similar) - d(q, other) + rho]_+ plus the balance of the bits."""

    triplets = 20
    """Triplets per image of a batch."""
    margin = 5 / 64
    """rho, as a share of the bits."""
    balance = 1.0
    """Weight of half the squared mean of each bit, divided by the images of the batch."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over random triplets plus the balance, both divided by the bits.

        For codes h in [-1, 1] the difference of two Hamming distances is the half difference of
        inner products.
        """
        codes = 2 * torch.sigmoid(self.hash(features)) - 1
        products = codes @ codes.T / 2
        image, near, far = draw_triplets(targets, self.triplets)
        loss = self.balance / 2 * codes.mean(0).square().sum() / len(codes)
        if len(image):
            apart = products[image, far] - products[image, near] + self.margin * self.bits
            loss = loss + apart.clamp_min(0).mean()
        return loss / self.bits
