"""Learn from a larger network (Hinton et al., "Distilling the Knowledge", 2015).

The classifier learns the teacher's logits instead of labels. This method is not from the papers.
Teacher and student see the same augmented, mixed view (Beyer et al., "A good teacher is patient and
consistent", 2022), so the student learns the teacher's function and not its mistakes on one crop.
OrthoHash shapes the features for hashing, as in the joint method.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from training.methods.joint import Joint
from training.methods.orthohash import OrthoHash

TEMPERATURE = 2.0


class Teacher(Joint):
    """Joint method with little label smoothing: smoothed teachers teach less (Mueller 2019)."""

    smoothing = 0.02


class Distilled(Joint):
    """OrthoHash on the labels; the classifier learns a teacher's logits instead (`learn`)."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the OrthoHash loss without the cross-entropy of the classifier."""
        return OrthoHash.forward(self, features, targets)

    def learn(self, features: Tensor, answers: Tensor) -> Tensor:
        """Return the divergence of the classifier from a teacher's logits, float [N, classes].

        TEMPERATURE softens both distributions. The factor TEMPERATURE**2 keeps the size of the
        gradients (source, section 2).
        """
        wanted = functional.log_softmax(answers / TEMPERATURE, 1)
        found = functional.log_softmax(self.classifier(features) / TEMPERATURE, 1)
        apart = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return apart * TEMPERATURE**2
