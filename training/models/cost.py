"""What a network costs: bytes of fp32 weights and multiply-adds per photo."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """Weights and biases, batch norms folded, and multiply-adds for one photo."""

    parameters: int
    multiply_adds: int
    nonzero_multiply_adds: int
    """Those whose weight is not 0: what a kernel that skips zeros would do."""

    @property
    def megabytes(self) -> float:
        """Size of the fp32 weights in MB (10^6 bytes)."""
        return self.parameters * FLOAT / 1e6


def cost_of(network: nn.Module, side: int, *outputs: int) -> Cost:
    """Count the layers of `network` for an input of `side` pixels.

    `outputs` are the sizes of further fully connected layers above it, one on the other. A batch
    norm folds into the layer before it, so each output channel counts one bias, whether or not the
    layer has its own.
    """
    found: list[tuple[int, int, int]] = []

    def count(layer: nn.Module, _: tuple[Tensor, ...], made: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        weights, used = layer.weight.numel(), int(layer.weight.count_nonzero())
        places = made.shape[-1] * made.shape[-2] if isinstance(layer, nn.Conv2d) else 1
        found.append((weights + layer.weight.shape[0], weights * places, used * places))

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        features = int(network(torch.zeros(1, 3, side, side)).shape[-1])
    for hook in hooks:
        hook.remove()
    for size in outputs:
        found.append((features * size + size, features * size, features * size))
        features = size
    return Cost(*(sum(column) for column in zip(*found, strict=True)))
