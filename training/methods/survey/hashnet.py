"""HashNet (Cao et al. 2017, "Deep Learning to Hash by Continuation")."""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.survey.pairs import negative_log_likelihood, similarity


class HashNet(Head):
    """Weighted likelihood of pairs of h = tanh(beta z), with beta growing in stages.

    Similar pairs weigh |S| / |S_1|, others |S| / |S_0|, and the sigmoid has the slope alpha < 1
    (source, equations 2 to 4, algorithm 1).
    """

    stages = 10
    sharpest = 10.0
    """beta of the last stage; it is 1 in the first."""
    slope = 10.0
    """alpha times the number of bits."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.beta = 1.0

    def begin(self, share: float) -> float:
        """Set beta for the stage of the training."""
        stage = min(int(share * self.stages), self.stages - 1)
        self.beta = self.sharpest ** (stage / max(self.stages - 1, 1))
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
