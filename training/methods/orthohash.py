"""OrthoHash (Hoe et al. 2021, "One Loss for All"): cosine to fixed spread targets, codes in BN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head, spread_targets
from training.methods.linear_map import LinearMap

SCALE, MARGIN = 8.0, 0.2  # the source's values for 64 bits


class OrthoHash(Head):
    """Cross-entropy over s (cos(v, o_c) - m [c is the label]); v batch-normalized, o_c fixed.

    The batch norm has no affine part. It centers each bit, so the bit is 1 half of the time. The
    cosine to a +-1 target keeps v close to binary, so no quantization term is needed.
    """

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.norm = nn.BatchNorm1d(bits, affine=False, momentum=0.03)
        self.targets: Tensor
        self.register_buffer("targets", functional.normalize(spread_targets(classes, bits)))

    def cosine(self, features: Tensor) -> Tensor:
        """Return the cosine of each code to each class target, float [N, classes]."""
        return functional.normalize(self.norm(self.hash(features))) @ self.targets.T

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the large-margin cosine softmax loss (source, equation 7)."""
        cosine = self.cosine(features)
        margin = MARGIN * functional.one_hot(targets, self.classes)
        return functional.cross_entropy(SCALE * (cosine - margin), targets)

    def linear(self) -> LinearMap:
        """Return the hash layer with the batch norm folded into it."""
        weight, bias = self.hash.weight.detach().double(), self.hash.bias.detach().double()
        mean, var = self.norm.running_mean, self.norm.running_var
        assert mean is not None and var is not None
        scale = 1 / torch.sqrt(var.double() + self.norm.eps)
        bias = (bias - mean.double()) * scale
        return (weight * scale[:, None]).float().numpy(), bias.float().numpy()
