"""A larger network's answers instead of labels (Hinton et al., "Distilling the Knowledge", 2015).

Beyond the papers. Both see the very same augmented, mixed view (Beyer et al., "A good teacher is
patient and consistent", 2022), so that the student learns the teacher's function and not its
mistakes on one crop. OrthoHash shapes the features for hashing, as in the joint method.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from training.methods.joint import Joint
from training.methods.orthohash import OrthoHash

TEMPERATURE = 2.0


class Teacher(Joint):
    """The joint method with hardly any smoothing: smoothed teachers teach less (Mueller 2019)."""

    smoothing = 0.02


class Distilled(Joint):
    """OrthoHash on the labels; the classifier sees a teacher's answers instead (`learn`)."""

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """The OrthoHash loss alone."""
        return OrthoHash.forward(self, features, targets)

    def learn(self, features: Tensor, answers: Tensor) -> Tensor:
        """Divergence of the classifier from the teacher's logits `answers`, float [N, classes].

        Both softened by TEMPERATURE; its square keeps the gradients' size (the source's section 2).
        """
        wanted = functional.log_softmax(answers / TEMPERATURE, 1)
        found = functional.log_softmax(self.classifier(features) / TEMPERATURE, 1)
        apart = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return apart * TEMPERATURE**2
