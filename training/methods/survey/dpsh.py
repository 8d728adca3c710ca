"""DPSH (Li, Wang & Kang 2016, "Feature Learning based Deep Supervised Hashing").

Compared with an author's code (github.com/jiangqy/DPSH-pytorch): the formulas are the same. It
pairs the images of a batch with the stored outputs of all training images, and its eta is 50.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import mean_over_pairs, negative_log_likelihood, similarity


class DPSH(Head):
    """Likelihood of pairs with theta = u_i u_j / 2, plus eta |b - u|^2.

    The source pairs each image of a batch with all n training images. Pairs within the batch have
    the same proportions with eta / n times the quantization error of an image.
    """

    eta = 50.0
    images = 5000
    """n, the training images of the source."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the pairs of the batch plus the quantization error."""
        outputs = self.hash(features)
        theta = outputs @ outputs.T / 2
        pairs = mean_over_pairs(negative_log_likelihood(theta, similarity(targets)))
        away = (outputs - torch.sign(outputs).detach()).square().sum(1).mean()
        loss: Tensor = pairs + self.eta / self.images * away
        return loss
