"""Train OrthoHash together with a classifier of the float features.

This combination is not from the papers. A code of K bits passes little gradient while it is still
coarse. The cross-entropy of a plain classifier on the features (label smoothing, Szegedy et al.
2016) trains the backbone from the first step. OrthoHash shapes the same features so that the signs
of a linear map preserve them.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from training.methods.orthohash import OrthoHash

SMOOTHING = 0.1


class Joint(OrthoHash):
    """OrthoHash loss plus label-smoothed cross-entropy of a linear classifier on the features."""

    smoothing = SMOOTHING

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.classifier = nn.Linear(features, classes)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of both losses, each with weight 1."""
        plain = functional.cross_entropy(
            self.classifier(features), targets, label_smoothing=self.smoothing
        )
        return plain + super().forward(features, targets)
