"""Define the interface of a hashing method that is trained: a hash layer with its loss."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.methods.linear_map import LinearMap


class Head(nn.Module):
    """Trainable hash layer with its loss.

    `hash` is the linear layer, [F] -> [K]. `forward(features [N, F], targets int64 [N])` returns
    the mean loss of the batch.
    """

    batches = 1
    """Factor on the batch size when `training.hash_layer.fit` fits the layer to fixed features."""
    slows = False
    """Whether `begin` may return less than 1; the features then get their own learning rate."""

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__()
        self.bits, self.classes = bits, classes
        self.hash = nn.Linear(features, bits)
        nn.init.normal_(self.hash.weight, 0.0, features**-0.5)
        nn.init.zeros_(self.hash.bias)

    def begin(self, share: float) -> float:
        """Prepare a step of training; `share`, 0 to 1, is the part already done.

        Return the learning rate of the features as a share of the rate of the method's own layers.
        On fixed features, it is called unless the method `slows` the features, as there are none.
        Any state set here must depend on `share` only, so that a resumed run ends with the same
        result as an uninterrupted one.
        """
        return 1.0

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of features float [N, F] with targets int64 [N]."""
        raise NotImplementedError

    def bit_weights(self) -> NDArray[np.float32] | None:
        """Return the weight of each bit in the distance, [K], 0 or more; None if all are equal."""
        return None

    def learn(self, features: Tensor, answers: Tensor) -> Tensor:
        """Return the loss against a teacher's logits `answers`, float [N, classes].

        Raises NotImplementedError for a method without a teacher, as most are.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no teacher")

    def linear(self) -> LinearMap:
        """Return the linear map that produces the bits, as in the exported hash layer."""
        weight = self.hash.weight.detach().float().cpu().numpy()
        return weight, self.hash.bias.detach().float().cpu().numpy()


def spread_targets(classes: int, bits: int, seed: int = 7) -> Tensor:
    """Return one +-1 target per class, float [classes, bits], far apart in Hamming distance.

    The search is greedy: it draws 256 random codes per class and takes the one farthest from its
    nearest predecessor. A Hadamard matrix has only 2 * bits such rows, fewer than the classes.
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
