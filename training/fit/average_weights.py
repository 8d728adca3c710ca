"""Halfway back to ImageNet: a trained backbone blended with the one that it started from.

    python -m training average-weights --weights NPZ --checkpoint FILE... --data DIR... --out FILE

Several checkpoints are averaged first: a soup (Wortsman et al., "Model soups", 2022). They must be
last stages of one run (`training.fit.train --start`), so that they lie in one valley of the loss; then
their average is often better than each, at no cost on the board.

Wortsman et al., "Robust fine-tuning of zero-shot models" (2022): the weights of both, averaged,
keep most of what training on a few hundred labels taught, and most of what ImageNet's thousand
classes taught. That matters here because a user's own places are labels that no training saw.

The averaged network's batch norms get their statistics anew, from augmented training photos. The
file that is written is a checkpoint like those of `training.fit.train`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from training.data.augment import GENTLE, augment
from training.data.input_tensor import to_input
from training.data.pixel_cache import PixelCache
from training.models.mobilenet_v1 import Backbone

BATCH, BATCHES, SIZE = 32, 16, 224


def average_weights(parts: Sequence[tuple[Backbone, float]]) -> Backbone:
    """The weights of all `parts`, each times its share; the shares sum to 1."""
    mixed = Backbone(parts[0][0].width)
    states = [(part.state_dict(), share) for part, share in parts]
    mixed.load_state_dict(
        {
            key: torch.stack([state[key].double() * share for state, share in states])
            .sum(0)
            .to(value.dtype)
            for key, value in mixed.state_dict().items()
        }
    )
    mixed.eval()
    return mixed


def renew_statistics(backbone: Backbone, cache: PixelCache, seed: int) -> None:
    """Set the batch norms' means and variances to those of augmented photos of `cache`."""
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches
    rng = np.random.default_rng(seed)
    count = min(BATCH * BATCHES, len(cache))
    rows = rng.choice(len(cache), count, replace=False)
    backbone.train()
    with torch.no_grad():
        for start in range(0, count, BATCH):
            views = [
                to_input(augment(cache[int(row)], SIZE, rng, GENTLE))[0]
                for row in rows[start : start + BATCH]
            ]
            backbone(torch.from_numpy(np.stack(views)))
    backbone.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
