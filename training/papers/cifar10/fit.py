"""Train a hash layer and the layer below it on stored features: one budget for all methods.

The layer below, 1024 -> HIDDEN with ReLU, stands for the joint part of feature learning: it is
trained by the loss of the method, together with the method's own layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.data.input_tensor import Floats
from training.methods.base import Head
from training.papers.cifar10.features import Halves, Material
from training.papers.cifar10.ranking import Bits

HIDDEN = 512
_ROWS = 10_000  # images at a time when codes are computed
Hasher = Callable[[Halves], Bits]
"""float16 features [N, F] -> bits bool [N, K]."""


@dataclass(frozen=True)
class Budget:
    """Settings of a training; all methods have the same epochs and batches."""

    epochs: int = 30
    batch: int = 250
    rate: float = 3e-3
    decay: float = 1e-2
    dropout: float = 0.2
    """Share of the features that are dropped."""
    options: dict[str, Any] = field(default_factory=dict)
    """Attributes of the method's class to set; the settings of its loss."""


@dataclass(frozen=True)
class Trained:
    """A trained method: it makes codes of features."""

    codes: Hasher
    weights: Floats | None
    """Weight of each bit in the distance, float32 [K], or None if all count the same."""


class Stack(nn.Module):
    """Standardized features -> hidden layer -> hash layer and loss of a method."""

    def __init__(self, views: Halves, head: Head, dropout: float, hidden: int = HIDDEN) -> None:
        super().__init__()
        flat = torch.from_numpy(views.reshape(-1, views.shape[-1])).float()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", flat.mean(0))
        self.register_buffer("scale", 1 / flat.std(0).clamp_min(1e-3))
        self.below = nn.Linear(flat.shape[1], hidden)
        self.dropout = dropout
        self.head = head

    def hidden(self, features: Tensor) -> Tensor:
        """Return the hidden layer float [N, hidden] of features [N, F]."""
        values = (features.float() - self.mean) * self.scale
        values = nn.functional.dropout(values, self.dropout, self.training)
        return torch.relu(self.below(values))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of the method on features [N, F] with targets int64 [N]."""
        loss: Tensor = self.head(self.hidden(features), targets)
        return loss


def learning_rate(share: float, warm: float = 0.1) -> float:
    """Return the factor on the learning rate after `share` of a training: a rise, then a cosine."""
    if share < warm:
        return (share + 0.01) / (warm + 0.01)
    return 0.5 * (1 + math.cos(math.pi * (share - warm) / (1 - warm)))


def train(method: type[Head], material: Material, bits: int, seed: int, budget: Budget) -> Trained:
    """Train `method` on the training images; the result depends on the arguments only."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    head = method(HIDDEN, bits, material.classes)
    for name, value in budget.options.items():
        if not hasattr(head, name):
            raise AttributeError(f"{method.__name__} has no setting {name}")
        setattr(head, name, value)
    stack = Stack(material.views, head, budget.dropout)
    targets = torch.from_numpy(material.labels[material.split.training])
    _descend(stack, torch.from_numpy(material.views), targets, seed, budget)
    stack.eval()
    weight, bias = head.linear()
    layer, threshold = torch.from_numpy(weight.T.copy()), torch.from_numpy(bias)

    def codes(features: Halves) -> Bits:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(features), _ROWS):
                hidden = stack.hidden(torch.from_numpy(features[start : start + _ROWS]))
                parts.append((hidden @ layer + threshold > 0).numpy())
        return np.concatenate(parts)

    return Trained(codes, head.bit_weights())


def _descend(stack: Stack, views: Tensor, targets: Tensor, seed: int, budget: Budget) -> None:
    """Train `stack` on `views` [V, N, F], in each epoch on one random view of each image."""
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
            which = torch.randint(len(views), (batch,), generator=generator)
            rate = budget.rate * learning_rate(step / steps)
            below = stack.head.begin(step / steps)
            for group, factor in zip(optimizer.param_groups, (below, 1.0), strict=True):
                group["lr"] = rate * factor
            loss = stack(views[which, rows], targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
