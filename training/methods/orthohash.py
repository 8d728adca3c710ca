"""OrthoHash (Hoe et al. 2021, "One Loss for All"): cosine to fixed spread targets, codes in BN.

Compared with the authors' code (github.com/kamwoh/orthohash): the loss, the scale and the margin
(0.3 in its command for CIFAR-10) are the same. Its batch norm has an affine part, and its layer no
bias. Its targets are random, or (codebook "O") far apart, as here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head, spread_targets
from training.methods.linear_map import LinearMap


class OrthoHash(Head):
    """Cross-entropy over s (cos(v, o_c) - m [c is the label]); v batch-normalized, o_c fixed.

    The batch norm has no affine part. It centers each bit, so the bit is 1 half of the time. The
    cosine to a +-1 target keeps v close to binary, so no quantization term is needed.
    """

    scale = 8.0
    """s."""
    margin = 0.2
    """m."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.norm = nn.BatchNorm1d(bits, affine=False, momentum=0.03)
        self.targets: Tensor
        self.register_buffer("targets", functional.normalize(spread_targets(classes, bits)))

    def cosine(self, features: Tensor) -> Tensor:
        """Return the cosine of each code to each class target, float [N, classes]."""
        return functional.normalize(self.norm(self.hash(features))) @ self.targets.T

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the large-margin cosine softmax loss."""
        cosine = self.cosine(features)
        margin = self.margin * functional.one_hot(targets, self.classes)
        return functional.cross_entropy(self.scale * (cosine - margin), targets)

    def linear(self) -> LinearMap:
        """Return the hash layer with the batch norm folded into it."""
        weight, bias = self.hash.weight.detach().double(), self.hash.bias.detach().double()
        mean, var = self.norm.running_mean, self.norm.running_var
        assert mean is not None and var is not None
        scale = 1 / torch.sqrt(var.double() + self.norm.eps)
        bias = (bias - mean.double()) * scale
        return (weight * scale[:, None]).float().numpy(), bias.float().numpy()
