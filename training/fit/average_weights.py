"""Average the weights of backbones and renew the statistics of their batch norms."""

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
    """Return the average of (backbone, share) `parts`; the shares must sum to 1."""
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
