"""Distill a classifier of the float features into the ranking by codes.

This method is not from the papers. It follows relational distillation (Park et al. 2019) and
similarity-preserving distillation (Tung & Mori 2019). The soft outputs of a classifier rank photos
better than 64 bits of the same features, and they also show which other labels a photo resembles.
The loss is that of the contrastive method plus a term that fits each photo's distribution of
nearness to the others of its batch, in relaxed codes, to the distribution in those outputs.

The classifier is trained at the same time. Label smoothing keeps its outputs soft. It gets no
gradient from the codes and is discarded afterwards, so the code remains one linear layer. The
cosine of the features as the teacher helps less, and costs accuracy on places (Experiments in
docs/results/ACCURACY.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.contrastive import SCALE, contrast
from training.methods.joint import SMOOTHING
from training.methods.paper import Paper


class Relational(Paper):
    """Both terms of the contrastive method, the teacher's error and `relate`, all with weight 1."""

    batches = 4  # a small batch has few relations and few photos of the same label

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.teacher = nn.Linear(features, classes)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the four terms."""
        activations = self.activations(features)
        codes = 2 * activations - 1
        answers = self.teacher(features)
        learned = functional.cross_entropy(answers, targets, label_smoothing=SMOOTHING)
        error = functional.cross_entropy(self.classifier(activations), targets)
        taught = functional.softmax(answers.detach(), 1)
        return learned + error + contrast(codes, targets) + relate(codes, taught)


def relate(codes: Tensor, taught: Tensor, sharpness: float = SCALE) -> Tensor:
    """Return the cross-entropy of the nearness in `codes` against the nearness in `taught`.

    `codes` are float [N, K] and `taught`, the teacher's vectors, float [N, any]. The nearness of a
    photo to the others of the batch is a softmax of its cosines, times SCALE for `codes` and times
    `sharpness` for `taught`.
    """
    oneself = torch.eye(len(codes), dtype=torch.bool, device=codes.device)

    def nearness(values: Tensor, scale: float) -> Tensor:
        unit = functional.normalize(values)
        return (scale * unit @ unit.T).masked_fill(oneself, -1e4)  # -inf * 0 is NaN

    wanted = functional.softmax(nearness(taught, sharpness), 1)
    found = functional.log_softmax(nearness(codes, SCALE), 1)
    loss: Tensor = -(wanted * found).sum(1).mean()
    return loss
