"""Train a hash layer and the layer below it on stored features: one budget for all methods.

The layer below, 1024 -> hidden with ReLU, stands for the joint part of feature learning: it is
trained by the loss of the method, together with the method's own layers. One training serves all
lengths, as in Table 3: each has a hash layer and loss of its own above the same layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.data.input_tensor import Floats
from training.methods.base import Head
from training.papers.cifar10.features import Material
from training.papers.cifar10.ranking import Bits
from training.papers.lengths import Lengths

HIDDEN = 512
_MASKS = 2048  # patterns of dropped features; drawing new ones would take half of the time
_ROWS = 10_000  # images at a time when codes are computed


@dataclass(frozen=True)
class Budget:
    """Settings of a training; all methods have the same epochs and batches."""

    epochs: int = 30
    batch: int = 250
    rate: float = 3e-3
    decay: float = 1e-2
    dropout: float = 0.2
    """Share of the features that are dropped."""
    hidden: int = HIDDEN
    """Units of the layer below the method's own layers."""
    options: dict[str, Any] = field(default_factory=dict)
    """Attributes of the method's class to set; the settings of its loss."""


@dataclass(frozen=True)
class Trained:
    """What a trained method makes of all images, by code length K."""

    codes: Mapping[int, Bits]
    """Codes bool [N, K] of all images."""
    weights: Mapping[int, Floats | None]
    """Weight of each bit in the distance, float32 [K], or None if all count the same."""


class Stack(nn.Module):
    """Standardized features -> hidden layer -> hash layer and loss of a method."""

    def __init__(self, features: int, head: Head, dropout: float, hidden: int) -> None:
        super().__init__()
        self.masks: Tensor
        self.register_buffer("masks", (torch.rand(_MASKS, features) >= dropout) / (1 - dropout))
        self.below = nn.Linear(features, hidden)
        self.head = head

    def hidden(self, values: Tensor) -> Tensor:
        """Return the hidden layer float [N, hidden] of standardized features [N, F]."""
        if self.training:
            values = values * self.masks[torch.randint(_MASKS, (len(values),))]
        return torch.relu(self.below(values))

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        """Return the loss on standardized features [N, F] with targets int64 [N]."""
        loss: Tensor = self.head(self.hidden(values), targets)
        return loss


def learning_rate(share: float, warm: float = 0.1) -> float:
    """Return the factor on the learning rate after `share` of a training: a rise, then a cosine."""
    if share < warm:
        return (share + 0.01) / (warm + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (share - warm) / (1 - warm)))


def train(
    method: type[Head], material: Material, lengths: Sequence[int], seed: int, budget: Budget
) -> Trained:
    """Train `method` on the training images; the result depends on the arguments only."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    together = Lengths(method, budget.hidden, lengths, material.classes)
    for head in together.heads:
        for name, value in budget.options.items():
            if not hasattr(head, name):
                raise AttributeError(f"{method.__name__} has no setting {name}")
            setattr(head, name, value)
    stack = Stack(material.views.shape[-1], together, budget.dropout, budget.hidden)
    targets = torch.from_numpy(material.labels[material.split.training])
    _descend(stack, material.standard.views, targets, seed, budget)
    stack.eval()
    weight, bias = together.linear()
    layer, threshold = torch.from_numpy(weight.T.copy()), torch.from_numpy(bias)
    parts = []
    with torch.inference_mode():
        for values in material.standard.features.split(_ROWS):
            parts.append((stack.hidden(values) @ layer + threshold > 0).numpy())
    codes = np.split(np.concatenate(parts), np.cumsum(lengths)[:-1], axis=1)
    weights = [head.bit_weights() for head in together.heads if isinstance(head, Head)]
    return Trained(dict(zip(lengths, codes, strict=True)), dict(zip(lengths, weights, strict=True)))


def _descend(stack: Stack, views: Tensor, targets: Tensor, seed: int, budget: Budget) -> None:
    """Train `stack` on standardized `views` [V * N, F], in each epoch on one view of each image."""
    groups: list[dict[str, Any]] = [
        {"params": list(stack.below.parameters())},
        {"params": list(stack.head.parameters())},
    ]
    optimizer = torch.optim.AdamW(groups, budget.rate, weight_decay=budget.decay)
    generator = torch.Generator().manual_seed(seed)
    count = len(targets)
    batch = min(budget.batch, count)
    steps = budget.epochs * (count // batch)
    step = 0
    stack.train()
    for _ in range(budget.epochs):
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - batch + 1, batch):  # whole batches only
            rows = order[start : start + batch]
            which = torch.randint(len(views) // count, (batch,), generator=generator)
            rate = budget.rate * learning_rate(step / steps)
            below = stack.head.begin(step / steps)
            for group, factor in zip(optimizer.param_groups, (below, 1.0), strict=True):
                group["lr"] = rate * factor
            loss = stack(views[which * count + rows], targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
