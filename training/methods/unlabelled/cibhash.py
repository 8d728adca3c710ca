"""CIBHash (Qiu et al. 2021, IJCAI): contrastive codes with an information bottleneck.

Two views of a photo get codes b ~ Bernoulli(p), p = sigmoid(encoder). The contrastive loss NT-Xent
(Chen et al. 2020) with the cosine of the codes makes them alike, and different from those of all
other photos of the batch. The bottleneck is the divergence of the two distributions.

Compared with the authors' code (github.com/qiuzx2/CIBHash, model/CIBHash.py): the contrastive loss,
the divergence, the temperature and the weight are the same. The code there takes b = sign(p - 0.5)
with the gradient of p, and no gradient for the second distribution of a divergence. Here b is drawn
from p, as the method is described. On validation images of CIFAR-10, codes that are not drawn were
clearly worse: a bit that is unsure then teaches one of its values only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.methods.unlabelled.base import Unlabelled

TEMPERATURE = 0.3
BOTTLENECK = 1e-3  # weight of the divergence; both values are those of the authors' code


class CIBHash(Unlabelled):
    """NT-Xent of sampled codes of two views, and their symmetric divergence."""

    views = 2
    takes_hidden = True

    def forward(self, views: Tensor) -> Tensor:
        """Return the loss of features [2, B, F]."""
        logits = torch.stack([self.values(view) for view in views])
        chance = torch.sigmoid(logits)
        drawn = torch.sign(chance - torch.rand_like(chance))
        codes = 2 * chance - 1
        codes = codes + (drawn - codes).detach()  # the gradient of the expectation
        loss: Tensor = nt_xent(codes[0], codes[1]) + BOTTLENECK * divergence(*logits)
        return loss


def nt_xent(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the mean over both views of -log softmax of the cosine to the photo's other view.

    `first` and `second` are float [B, K]; the softmax is over the 2 B - 1 other codes.
    """
    unit = functional.normalize(torch.cat([first, second]))
    oneself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    nearness = (unit @ unit.T / temperature).masked_fill(oneself, -torch.inf)
    count = len(first)
    other = torch.arange(2 * count, device=unit.device).roll(count)
    return functional.cross_entropy(nearness, other)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean symmetric Kullback-Leibler divergence of Bernoulli codes, logits [B, K]."""
    p, q = torch.sigmoid(first), torch.sigmoid(second)
    # p log(p/q) + (1-p) log((1-p)/(1-q)) + the same exchanged = (p - q)(logit p - logit q)
    return ((p - q) * (first - second)).sum(1).mean() / 2
