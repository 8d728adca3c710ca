"""Pairs and triplets of the images in a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def similarity(targets: Tensor) -> Tensor:
    """Return s_ij, float [N, N]: 1 where two images have the same label int64 [N], else 0."""
    return (targets[:, None] == targets).float()


def mean_over_pairs(values: Tensor) -> Tensor:
    """Return the mean of float [N, N] over the pairs of different images; 0 for one image."""
    count = len(values)
    summed = values.sum() - values.diagonal().sum()
    return summed / max(count * (count - 1), 1)


def negative_log_likelihood(products: Tensor, similar: Tensor) -> Tensor:
    """Return log(1 + exp(p)) - s p, the loss of P(s = 1) = sigmoid(p), elementwise."""
    return functional.softplus(products) - similar * products


def draw_triplets(targets: Tensor, each: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw `each` triplets for every image: positions int64 [T] of it, a similar and another image.

    An image without a similar or a different one in the batch is left out.
    """
    similar = similarity(targets)
    others = 1 - similar
    similar.fill_diagonal_(0)
    usable = torch.nonzero((similar.sum(1) > 0) & (others.sum(1) > 0)).flatten()
    if len(usable) == 0:
        return usable, usable, usable
    near = torch.multinomial(similar[usable], each, replacement=True).flatten()
    far = torch.multinomial(others[usable], each, replacement=True).flatten()
    return usable.repeat_interleave(each), near, far


def squared_distances(codes: Tensor) -> Tensor:
    """Return the squared Euclidean distances [N, N] of codes float [N, K]."""
    norms = codes.square().sum(1)
    return (norms[:, None] + norms - 2 * codes @ codes.T).clamp_min(0)
