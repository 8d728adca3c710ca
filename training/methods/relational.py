"""Distillation from full precision: the codes rank as a classifier on the float features does.

Beyond the papers; after relational distillation (Park et al. 2019) and similarity-preserving
distillation (Tung & Mori 2019). Photos compared by a classifier's soft answers are ranked better
than by 64 bits of the same features, and those answers also say which other labels a photo nearly
was. So besides the contrastive method's loss, each photo's distribution of nearness to the others
of its batch, in relaxed codes, is drawn to the one in those answers. The classifier learns along
(label smoothing keeps its answers soft), gets no gradient from the codes and is thrown away: the
code stays one linear layer. (The features' own cosine as the teacher helps less, and costs on
places: see docs/results/ACCURACY.md, what was tried.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.methods.contrastive import SCALE, contrast
from training.methods.joint import SMOOTHING
from training.methods.paper import Paper


class Relational(Paper):
    """The contrastive method's two terms, the teacher's own error and `relate`; weights 1."""

    batches = 4  # relations, and photos of one's own label, are few in a small batch

    def __init__(self, features: int, bits: int, classes: int):
        super().__init__(features, bits, classes)
        self.teacher = nn.Linear(features, classes)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """The sum of the four terms."""
        activations = self.activations(features)
        codes = 2 * activations - 1
        answers = self.teacher(features)
        learned = functional.cross_entropy(answers, targets, label_smoothing=SMOOTHING)
        error = functional.cross_entropy(self.classifier(activations), targets)
        taught = functional.softmax(answers.detach(), 1)
        return learned + error + contrast(codes, targets) + relate(codes, taught)


def relate(codes: Tensor, taught: Tensor, sharpness: float = SCALE) -> Tensor:
    """Cross-entropy from the teacher's nearness of each photo to the others to the codes' own.

    Nearness is the cosine times SCALE, the teacher's times `sharpness`, in a softmax over all other
    photos of the batch; `codes` float [N, K], `taught` float [N, any].
    """
    oneself = torch.eye(len(codes), dtype=torch.bool, device=codes.device)

    def nearness(values: Tensor, scale: float) -> Tensor:
        unit = functional.normalize(values)
        return (scale * unit @ unit.T).masked_fill(oneself, -1e4)  # -inf times zero is not a number

    wanted = functional.softmax(nearness(taught, sharpness), 1)
    found = functional.log_softmax(nearness(codes, SCALE), 1)
    loss: Tensor = -(wanted * found).sum(1).mean()
    return loss
