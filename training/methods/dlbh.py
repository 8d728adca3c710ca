"""DLBH (Lin et al. 2015): a latent sigmoid layer put before the classifier of a tuned network.

Two stages: the network is first tuned for classification without a hash layer; then the latent
layer is put in, and it and the classifier are learnt while the features hardly change. Here stage
one is a softmax on the features (`tuner`), stage two the latent layer on features whose gradient is
scaled by `FEATURE_RATE`; both are learnt at once, their errors summed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head

FEATURE_RATE = 0.1  # the pretrained layers learn ten times slower than the new ones


class DLBH(Head):
    """Latent layer learnt on nearly fixed features beside the classifier that tuned them."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.tuner = nn.Linear(features, classes)  # stage one: tunes the features
        self.classifier = nn.Linear(bits, classes)  # stage two: sees the latent layer only

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Stage-one error of the features plus stage-two error through the latent layer."""
        slowed = FEATURE_RATE * features + (1 - FEATURE_RATE) * features.detach()
        latent = torch.sigmoid(self.hash(slowed))
        tuned = functional.cross_entropy(self.tuner(features), targets)
        return tuned + functional.cross_entropy(self.classifier(latent), targets)
