"""DLBH (Lin et al. 2015): a latent sigmoid layer before the classifier of a tuned network.

Two stages. In the first half of a training, a softmax classifier tunes the features, without a hash
layer. In the second half, the latent layer is added and learned together with a classifier that
sees only this layer, while the features learn ten times slower. One learning rate schedule spans
both halves. On fixed features (training/hash_layer/fit.py) there is nothing to tune. Then only the
second stage remains, and its loss is that of the paper.

The two stages are those of the survey's case study. In the authors' code for CIFAR-10
(github.com/kevinlin311tw/caffe-cvprw15), a network from ImageNet is trained in one stage, with the
latent layer from the start and features that learn as fast as it does: `switch` 0, `feature_rate`
1. The classifier then learns ten times faster, which is left out here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head


class DLBH(Head):
    """Train a classifier of the features first, then the latent layer on nearly fixed ones."""

    slows = True
    switch = 0.5
    """Share of a training after which the latent layer is added."""
    feature_rate = 0.1
    """Factor on the learning rate of the pretrained layers in the second stage."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.tuner = nn.Linear(features, classes)  # sees the features
        self.classifier = nn.Linear(bits, classes)  # sees the latent layer only
        self.tuning = False

    def begin(self, share: float) -> float:
        """Select the first stage before `switch` and the second from it on."""
        self.tuning = share < self.switch
        return 1.0 if self.tuning else self.feature_rate

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of the current stage's classifier."""
        if self.tuning:
            return functional.cross_entropy(self.tuner(features), targets)
        latent = torch.sigmoid(self.hash(features))
        return functional.cross_entropy(self.classifier(latent), targets)
