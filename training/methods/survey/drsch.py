"""DRSCH (Zhang et al. 2015, "Bit-Scalable Deep Hashing With Regularized Similarity Learning").

Every bit has a weight in the distance. A shorter code keeps the bits with the largest weights.

Compared with the authors' code (github.com/ruixuejianfei/BitScalableDeepHash, its loss, sigmoid and
product layers and the network for 64 bits): the hinge of squared distances of weighted codes in
[-1, 1], its margin (5, for 64 bits) and the weight of the regularization are the same. There the
margin grows with the steps, the weights are free, and the regularization is tr(V L V') with a
Laplacian L whose data are not in the repository; here the neighbors by the features stand for it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.methods.base import Head
from training.methods.survey.pairs import draw_triplets, squared_distances


class DSCH(Head):
    """The source's variant without weights: max-margin triplets and adjacency consistency."""

    triplets = 20
    """Triplets per image of a batch."""
    margin = 5 / 64
    """Margin of the squared distances, per bit."""
    consistency = 0.001
    """Weight of the regularization."""
    neighbors = 5
    """Images of a batch that count as similar in appearance."""

    def activations(self, features: Tensor) -> Tensor:
        """Return the relaxed codes in [-1, 1], float [N, K]: tanh."""
        return torch.tanh(self.hash(features))

    def weights(self) -> Tensor:
        """Return the weight of each bit, float [K], with mean 1."""
        return torch.ones(self.bits)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean hinge of random triplets plus `consistency` times the regularization."""
        codes = self.activations(features)
        distances = squared_distances(codes * self.weights().sqrt()) / self.bits
        image, near, far = draw_triplets(targets, self.triplets)
        loss = self.consistency * self._inconsistency(features, codes)
        if len(image) == 0:
            return loss
        apart = distances[image, near] - distances[image, far] + self.margin
        return loss + apart.clamp_min(0).mean()

    def _inconsistency(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return the mean weighted squared distance to the images nearest in appearance.

        Appearance is the cosine of the features that the layer gets.
        """
        count = min(self.neighbors, len(codes) - 1)
        if count < 1:
            return codes.sum() * 0
        with torch.no_grad():
            unit = functional.normalize(features)
            nearness = (unit @ unit.T).fill_diagonal_(-2)
            nearest = nearness.topk(count, dim=1).indices
        away = (codes[:, None] - codes[nearest]).square() * self.weights()
        return away.mean()


class DRSCH(DSCH):
    """Bits with learned weights: squares, so that they are not negative, with mean 1."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.scale = nn.Parameter(torch.ones(bits))

    def weights(self) -> Tensor:
        """Return the learned weight of each bit, float [K], with mean 1."""
        squares = self.scale.square()
        return squares / squares.mean().clamp_min(1e-6)

    def bit_weights(self) -> NDArray[np.float32]:
        """Return the weight of each bit in the distance, [K]."""
        found: NDArray[np.float32] = self.weights().detach().float().numpy()
        return found
