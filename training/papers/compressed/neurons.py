"""Removal of similar neurons without data (Srinivas & Babu 2015, BMVC).

Two neurons of a fully connected layer with the same weights have the same value; one of them can
go, if the other takes over its weights in the next layer. Neurons are removed one by one, the one
that changes the next layer least first: with weights w (and bias) of its own and a in the next
layer, the removal of j for i counts as mean(a_j^2) |w_i - w_j|^2, as in the source. Neither photos
nor a training are needed.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn


def remove_neurons(late: nn.Sequential, share: float) -> nn.Sequential:
    """Return the layers without `share` of the neurons of each fully connected layer but the last.

    Fully connected layers must follow one another, with nothing but ReLU in between.
    """
    layers = [copy.deepcopy(layer) for layer in late]
    connected = [each for each in layers if isinstance(each, nn.Linear)]
    for layer, following in pairwise(connected):
        kept, weight = _merged(layer, following, round(share * layer.out_features))
        layer.weight = nn.Parameter(layer.weight.detach()[kept])
        layer.bias = nn.Parameter(layer.bias.detach()[kept])
        following.weight = nn.Parameter(weight[:, kept])
        layer.out_features = following.in_features = len(kept)
    return nn.Sequential(*layers)


def _merged(layer: nn.Linear, following: nn.Linear, count: int) -> tuple[Tensor, Tensor]:
    """Return the neurons that stay without `count`, and the weight [O, I] of the next layer."""
    own = torch.cat([layer.weight, layer.bias[:, None]], 1).detach().double()
    weight = following.weight.detach().clone()
    apart = torch.cdist(own, own).square()  # row: the one that stays, column: that which goes
    apart.fill_diagonal_(torch.inf)
    loss = apart * weight.square().mean(0)
    kept = torch.ones(len(own), dtype=torch.bool)
    for _ in range(count):
        stays, goes = divmod(int(loss.argmin()), len(own))
        weight[:, stays] += weight[:, goes]
        kept[goes] = False
        apart[goes], apart[:, goes] = torch.inf, torch.inf
        loss[goes], loss[:, goes] = torch.inf, torch.inf
        loss[:, stays] = apart[:, stays] * weight[:, stays].square().mean()
    return kept.nonzero().flatten(), weight
