"""Pruned layers: single weights (Han et al. 2015) or whole channels (Li et al. 2017).

Weights are pruned by magnitude, the smallest of each layer first. A pruned file stores the others
and one bit per weight that says which they are. Channels are pruned by how much they add to the
next layers: the norm of their weights there times the size of their values on photos of the
database. Nothing is trained afterwards; in the papers, training restores most of the accuracy.
"""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import Tensor, nn

from training.models.cost import FLOAT
from training.models.mobilenet_v1 import SameConv
from training.papers.compressed.chain import Bias, matrix_of


def prune_weights(late: nn.Sequential, share: float) -> nn.Sequential:
    """Return the layers with the smallest `share` of the weights of each set to zero.

    Depthwise convolutions, which have few weights, and the hash layer, the last, stay.
    """
    pruned = copy.deepcopy(late)
    for layer in list(pruned)[:-1]:
        if isinstance(layer, nn.Conv2d | nn.Linear) and _is_large(layer):
            weight = layer.weight.data
            least = int(share * weight.numel())
            if least:
                limit = weight.abs().flatten().kthvalue(least).values
                weight[weight.abs() <= limit] = 0
    return pruned


def sparse_megabytes(network: nn.Module) -> float:
    """Return the size in MB (10^6 bytes) with zero weights left out, for a bit per weight."""
    size = 0.0
    for values in network.parameters():
        kept = int((values != 0).sum())
        dense, sparse = values.numel() * FLOAT, kept * FLOAT + values.numel() / 8
        size += min(dense, sparse)
    return size / 1e6


def prune_channels(late: nn.Sequential, moments: dict[int, Tensor], share: float) -> nn.Sequential:
    """Return separable layers with the least important `share` of the channels cut out.

    Cut are the channels between a 1 x 1 convolution and the next, with the depthwise convolution
    in between; `moments` are those of `chain.moments`. The features keep their number.
    """
    layers = [copy.deepcopy(layer) for layer in late]
    places = [
        i for i, layer in enumerate(layers) if isinstance(layer, SameConv) and layer.groups == 1
    ]
    for place, following in pairwise(places):
        weight = matrix_of(layers[following])
        assert weight is not None
        power = moments[following].diagonal() * weight.square().sum(0)
        count = len(power) - round(share * len(power))
        kept = power.argsort(descending=True)[:count].sort().values
        for between in layers[place:following]:
            _keep_outputs(between, kept)
        _keep_inputs(layers[following], kept)
    return nn.Sequential(*layers)


def _is_large(layer: nn.Conv2d | nn.Linear) -> bool:
    return isinstance(layer, nn.Linear) or layer.groups < layer.in_channels


def _keep_outputs(layer: nn.Module, kept: Tensor) -> None:
    if isinstance(layer, Bias):
        layer.bias = nn.Parameter(layer.bias.detach()[kept])
    elif isinstance(layer, SameConv):
        layer.weight = nn.Parameter(layer.weight.detach()[kept])
        layer.out_channels = len(kept)
        if layer.groups > 1:
            layer.in_channels = layer.groups = len(kept)


def _keep_inputs(layer: nn.Module, kept: Tensor) -> None:
    assert isinstance(layer, SameConv)
    layer.weight = nn.Parameter(layer.weight.detach()[:, kept])
    layer.in_channels = len(kept)
