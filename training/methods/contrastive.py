"""Add a supervised contrastive term (Khosla et al. 2020) to the loss of the paper's layer.

This combination is not from the papers. Cross-entropy through the latent layer yields codes that a
classifier can tell apart. Retrieval needs more: the codes of a label's photos must be nearer to
each other than to all others. With few bits the two goals differ, so short codes gain from the
contrastive term on the activations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.methods.paper import Paper

SCALE = 8.0  # factor on the cosine of two photos' activations, 1 / temperature of the source


class Contrastive(Paper):
    """Cross-entropy of the classifier plus the source's L_out over the batch, weights 1."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of both terms; the only photo of a label has no contrastive term."""
        activations = self.activations(features)
        error = functional.cross_entropy(self.classifier(activations), targets)
        return error + contrast(2 * activations - 1, targets)


def contrast(codes: Tensor, targets: Tensor) -> Tensor:
    """Return the source's L_out for codes float [N, K] and targets int64 [N].

    For each photo, take the softmax of its cosines to all others. The loss is the mean of -log
    over the photos with the same label, averaged over the photos that have such others.
    """
    unit = functional.normalize(codes)
    oneself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    nearness = (SCALE * unit @ unit.T).masked_fill(oneself, -1e4)  # -inf * 0 is NaN
    same = (targets[:, None] == targets).masked_fill(oneself, False)
    logs = functional.log_softmax(nearness, 1)
    found = same.sum(1)
    means = (logs * same).sum(1) / found.clamp_min(1)
    loss: Tensor = -means.sum() / (found > 0).sum().clamp_min(1)
    return loss
