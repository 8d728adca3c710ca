"""What every hashing method is: features -> a linear map whose signs are the bits."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]
LinearMap = tuple[Floats, Floats]  # weight [K, F], bias [K]: bit k = (weight f + bias)_k > 0


class Method(Protocol):
    """An unsupervised method: fits a linear map to features float32 [N, F]."""

    def __call__(self, features: Floats, bits: int, seed: int) -> LinearMap:
        """Weight [bits, F] and bias [bits]."""
        ...


class Head(nn.Module):
    """A trainable hash layer with its loss; `hash` is the linear layer, [F] -> [K].

    `forward(features [N, F], targets int64 [N])` is the mean loss of the batch.
    """

    batches = 1
    """How many times larger a batch is when the layer is fitted to fixed features (heads)."""
    slows = False
    """Whether `begin` ever slows the features down: they then have a learning rate of their own."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__()
        self.bits, self.classes = bits, classes
        self.hash = nn.Linear(features, bits)
        nn.init.normal_(self.hash.weight, 0.0, features**-0.5)
        nn.init.zeros_(self.hash.bias)

    def begin(self, share: float) -> float:
        """Told before each step of end-to-end training that `share`, 0 to 1, of it is done.

        Returns the features' learning rate as a share of the method's own layers'. No state may
        come of it but `share`'s: a run that goes on must end as one that was never killed.
        """
        return 1.0

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """The loss."""
        raise NotImplementedError

    def learn(self, features: Tensor, answers: Tensor) -> Tensor:
        """The loss against a teacher's logits, float [N, classes]; most methods take none."""
        raise NotImplementedError(f"{type(self).__name__} takes no teacher")

    def linear(self) -> LinearMap:
        """The map that makes the bits, as the exported hash layer."""
        weight = self.hash.weight.detach().float().cpu().numpy()
        return weight, self.hash.bias.detach().float().cpu().numpy()


def spread_targets(classes: int, bits: int, seed: int = 7) -> Tensor:
    """One +-1 target a class, float [classes, bits], far from each other in Hamming distance.

    Greedy: of 256 random codes the one farthest from its nearest predecessor is kept. (A Hadamard
    matrix has only 2 * bits such rows, fewer than there are classes.)
    """
    rng = np.random.default_rng((seed, classes, bits))
    chosen: list[NDArray[np.float32]] = []
    for _ in range(classes):
        drawn = np.sign(rng.random((256, bits)) - 0.5).astype(np.float32)
        if chosen:
            nearness = (drawn @ np.stack(chosen).T).max(axis=1)
            chosen.append(drawn[int(np.argmin(nearness))])
        else:
            chosen.append(drawn[0])
    return torch.from_numpy(np.stack(chosen))
