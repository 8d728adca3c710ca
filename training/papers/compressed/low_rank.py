"""Low-rank layers (Denton et al. 2014; Zhang et al. 2016): one matrix becomes two thin ones.

The best approximation of the layer's results is sought, not of its weights: the SVD is of
W C^(1/2), with C the second moments of the layer's inputs on photos of the database. No label is
used and nothing is trained afterwards. Only 1 x 1 convolutions and fully connected layers are
replaced, and only where two matrices are smaller than one; the hash layer stays.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.papers.compressed.chain import matrix_of, replaced

Factors = dict[int, tuple[Tensor, Tensor]]
"""By the place of a layer: A [O, R] and B [R, I] at full rank, the most important first."""


def decompose(late: nn.Sequential, moments: dict[int, Tensor]) -> Factors:
    """Return the factors of every matrix but the last; `moments` are those of `chain.moments`."""
    found = {}
    for place, layer in enumerate(list(late)[:-1]):
        matrix = matrix_of(layer)
        if matrix is not None:
            found[place] = factors(matrix, moments[place])
    return found


def low_rank(late: nn.Sequential, found: Factors, share: float) -> nn.Sequential:
    """Return the layers with about `share` of the weights of each matrix, in two factors."""

    def change(place: int, layer: nn.Module) -> nn.Module:
        if place not in found:
            return layer
        first, second = found[place]
        outputs, inputs = len(first), second.shape[1]
        rank = max(1, int(share * outputs * inputs / (outputs + inputs)))
        bias = layer.bias if isinstance(layer, nn.Linear | nn.Conv2d) else None
        return _pair(first[:, :rank], second[:rank], bias, isinstance(layer, nn.Linear))

    return replaced(late, change)


def factors(matrix: Tensor, moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return A [O, R] and B [R, I] with A B = `matrix`.

    Their first r columns and rows are the best of rank r for inputs of second moments `moment`.
    """
    values, vectors = torch.linalg.eigh(moment)
    values = values.clamp_min(values.max() * 1e-6).sqrt()  # inputs that never vary stay harmless
    root, inverse = vectors * values @ vectors.T, vectors / values @ vectors.T
    left, sizes, right = torch.linalg.svd(matrix @ root, full_matrices=False)
    return left * sizes, right @ inverse


def _pair(first: Tensor, second: Tensor, bias: Tensor | None, connected: bool) -> nn.Sequential:
    layers: list[nn.Linear | nn.Conv2d] = []
    for weight, own in ((second, None), (first, bias)):
        outputs, inputs = weight.shape
        layer: nn.Linear | nn.Conv2d
        if connected:
            layer = nn.Linear(inputs, outputs, bias=own is not None)
            layer.weight = nn.Parameter(weight.contiguous())
        else:
            layer = nn.Conv2d(inputs, outputs, 1, bias=own is not None)
            layer.weight = nn.Parameter(weight[:, :, None, None].contiguous())
        if own is not None:
            layer.bias = nn.Parameter(own.detach().clone())
        layers.append(layer)
    return nn.Sequential(*layers)
