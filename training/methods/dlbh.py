"""DLBH (Lin et al. 2015): a latent sigmoid layer put before the classifier of a tuned network.

Two stages. In the first half of a training the features are tuned by a softmax classifier, without
a hash layer; in the second the latent layer is put in and learnt beside a classifier that sees only
it, while the features learn ten times slower. Both halves share the run's one schedule of the
learning rate. On fixed features (training/heads) there is nothing to tune, so the second stage is
all there is, and its loss is the paper's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head

SWITCH = 0.5  # share of a training after which the latent layer is put in
FEATURE_RATE = 0.1  # the pretrained layers learn ten times slower than the new ones


class DLBH(Head):
    """A classifier of the features first; then the latent layer on nearly fixed features."""

    slows = True

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.tuner = nn.Linear(features, classes)  # sees the features
        self.classifier = nn.Linear(bits, classes)  # sees the latent layer only
        self.tuning = False

    def begin(self, share: float) -> float:
        """The first stage up to SWITCH, the second from there on."""
        self.tuning = share < SWITCH
        return 1.0 if self.tuning else FEATURE_RATE

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the stage's classifier."""
        if self.tuning:
            return functional.cross_entropy(self.tuner(features), targets)
        latent = torch.sigmoid(self.hash(features))
        return functional.cross_entropy(self.classifier(latent), targets)
