"""Define the interface of a method that is trained without labels, and train it on features.

A method sees features of several views of the same photos: the clean view first, then augmented
ones. Only the photos are known, not what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.errors import InputError
from training.methods.linear_map import Floats, LinearMap

_ROWS = 10_000  # photos at a time when values are computed


@dataclass(frozen=True)
class Budget:
    """Settings of a training; all methods have the same epochs and batches."""

    epochs: int = 30
    batch: int = 250
    rate: float = 1e-3
    decay: float = 1e-4
    hidden: int = 0
    """Units of a layer with ReLU below the code; 0 for codes that are linear in the features."""


class Unlabelled(nn.Module):
    """Encoder of centered features [N, F] into values [N, K], with a loss; a bit is value > 0."""

    views = 1
    """Views of each photo that the loss compares."""
    takes_hidden = False
    """Whether the method works with any encoder; the others define their own layers."""

    def __init__(self, features: int, bits: int, hidden: int = 0) -> None:
        """Make the encoder: linear, or with one hidden layer of `hidden` units."""
        super().__init__()
        self.bits = bits
        below = [nn.Linear(features, hidden), nn.ReLU()] if hidden else []
        self.encoder = nn.Sequential(*below, nn.Linear(hidden or features, bits))

    def values(self, features: Tensor) -> Tensor:
        """Return values float [N, K] of features [N, F]."""
        found: Tensor = self.encoder(features)
        return found

    def prepare(self, features: Tensor, budget: Budget) -> None:
        """Initialize from all clean features [N, F] before the first step."""

    def forward(self, views: Tensor) -> Tensor:
        """Return the loss of a batch, features [views, B, F] of the same photos."""
        raise NotImplementedError

    def learn(self, views: Tensor, seed: int, budget: Budget) -> None:
        """Train on features [V, N, F] of V views of N photos, in mini-batches."""
        self.prepare(views[0], budget)
        generator = torch.Generator().manual_seed(seed)
        count = views.shape[1]
        batch = min(budget.batch, count)
        steps = budget.epochs * (count // batch)
        optimizer = torch.optim.AdamW(self.parameters(), budget.rate, weight_decay=budget.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, budget.rate, steps, pct_start=0.1)
        for _ in range(budget.epochs):
            order = torch.randperm(count, generator=generator)
            for start in range(0, count - batch + 1, batch):  # whole batches only
                rows = order[start : start + batch]
                loss = self(self._draw(views, rows, generator))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    def _draw(self, views: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return features [self.views, B, F]: for each photo, different views where there are."""
        if self.views == 1:
            return views[:1, rows]
        many = max(len(views), self.views)
        drawn = torch.rand(many, len(rows), generator=generator).argsort(0)[: self.views]
        return views[drawn % len(views), rows]


@dataclass(frozen=True)
class Coder:
    """A trained encoder with the centering of its input."""

    net: Unlabelled
    mean: Tensor
    scale: float

    def values(self, features: NDArray[np.float32] | NDArray[np.float16]) -> Floats:
        """Return values float32 [N, K] of features [N, F]; a bit is value > 0."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(features), _ROWS):
                rows = torch.from_numpy(features[start : start + _ROWS]).float()
                parts.append(self.net.values((rows - self.mean) * self.scale).numpy())
        return np.concatenate(parts)

    def linear(self) -> LinearMap:
        """Return the encoder as a linear map; raises InputError if it has several layers."""
        layer = self.net.encoder[0]
        if len(self.net.encoder) > 1 or not isinstance(layer, nn.Linear):
            raise InputError("the encoder of this method is not linear", where="--method")
        weight = layer.weight.detach() * self.scale
        bias = layer.bias.detach() - weight @ self.mean
        return weight.numpy().astype(np.float32), bias.numpy().astype(np.float32)


def train_unlabelled(
    method: type[Unlabelled], passes: Sequence[Floats], bits: int, seed: int, budget: Budget
) -> Coder:
    """Train `method` on features of passes over the same N photos, float32 [N, F] each.

    The clean pass comes first. Features are centered and divided by one number, so that their mean
    variance is 1 and directions keep their weight. The result depends on the arguments only.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # synchronization costs more than a second core gains
    torch.manual_seed(seed)
    views = torch.stack([torch.from_numpy(np.asarray(each, np.float32)) for each in passes])
    mean = views[0].mean(0)
    scale = 1 / max(float(views[0].std(0).square().mean().sqrt()), 1e-6)
    net = method(views.shape[2], bits, budget.hidden if method.takes_hidden else 0)
    net.train()
    net.learn((views - mean) * scale, seed, budget)
    net.eval()
    torch.set_num_threads(threads)
    return Coder(net, mean, scale)


def principal(features: Tensor, count: int) -> Tensor:
    """Return the `count` first principal directions of centered features [N, F], [F, count]."""
    _, vectors = torch.linalg.eigh(features.T @ features / len(features))
    return vectors.flip(1)[:, :count]
