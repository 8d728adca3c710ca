"""HashNet (Cao et al. 2017, "Deep Learning to Hash by Continuation").

Compared with the authors' code (github.com/thuml/HashNet, the PyTorch version): the slope, 10 / K,
and beta are the same. The weights of the pairs are those of its `pairwise_loss_updated`. It draws
the two images of a pair from two batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import negative_log_likelihood, similarity


class HashNet(Head):
    """Weighted likelihood of pairs of h = tanh(beta z), with beta growing in stages.

    Similar pairs weigh |S| / |S_1|, others |S| / |S_0|, and the sigmoid has the slope alpha < 1.
    """

    stages = 50
    """The authors' code sets beta every 200 of 10,000 steps, to sqrt(1 + 0.005 step)."""
    sharpest = 51**0.5
    """beta at the end of a training; it is 1 in the first stage."""
    slope = 10.0
    """alpha times the number of bits."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.beta = 1.0

    def begin(self, share: float) -> float:
        """Set beta for the stage of the training."""
        stage = min(int(share * self.stages), self.stages - 1)
        self.beta = (1 + (self.sharpest**2 - 1) * stage / self.stages) ** 0.5
        return 1.0

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted mean over the pairs of the batch."""
        codes = torch.tanh(self.beta * self.hash(features))
        similar = similarity(targets)
        products = self.slope / self.bits * codes @ codes.T
        losses = negative_log_likelihood(products, similar).masked_fill(
            torch.eye(len(codes), dtype=torch.bool, device=codes.device), 0.0
        )
        alike = similar.sum() - len(codes)
        unlike = (1 - similar).sum()
        one = (losses * similar).sum() / alike.clamp_min(1)
        zero = (losses * (1 - similar)).sum() / unlike.clamp_min(1)
        loss: Tensor = one + zero
        return loss
