"""The paper's layer with a supervised contrastive term (Khosla et al. 2020) on its activations.

Beyond the papers. Cross-entropy through the latent layer asks for codes that a classifier can tell
apart; retrieval asks that photos of a label be nearer to each other than to all others, in the
codes themselves. With few bits the two differ: the contrastive term is what a short code gains by.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.methods.paper import Paper

SCALE = 8.0  # of the cosine between two photos' activations, 1 / temperature of the source


class Contrastive(Paper):
    """Cross-entropy of the classifier plus the source's L_out over the batch; weights 1."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Both terms; a photo whose label is alone in the batch has no contrastive one."""
        activations = self.activations(features)
        error = functional.cross_entropy(self.classifier(activations), targets)
        return error + contrast(2 * activations - 1, targets)


def contrast(codes: Tensor, targets: Tensor) -> Tensor:
    """-log of the share of its own label's photos in each photo's softmax over all others."""
    unit = functional.normalize(codes)
    oneself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    nearness = (SCALE * unit @ unit.T).masked_fill(oneself, -1e4)  # -inf times zero is not a number
    same = (targets[:, None] == targets).masked_fill(oneself, False)
    logs = functional.log_softmax(nearness, 1)
    found = same.sum(1)
    means = (logs * same).sum(1) / found.clamp_min(1)
    loss: Tensor = -means.sum() / (found > 0).sum().clamp_min(1)
    return loss
