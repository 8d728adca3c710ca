"""DeepBit (Lin, Lu, Chen & Zhou 2016, CVPR): binary, evenly distributed, rotation-invariant bits.

The source trains the last layer of VGG-16 with three losses (its section 3). The even distribution
counts bits, which has no gradient; here, as in the authors' code, it passes straight through to the
values. Rotated views are the augmented ones: rotated by up to 10 degrees like those
of the source, and also cropped and mirrored.
"""

from __future__ import annotations

from torch import Tensor

from training.methods.unlabelled.base import Unlabelled

EVEN, ROTATION = 1.0, 0.01  # weights beta and gamma; that of the quantization, alpha, is 1


class DeepBit(Unlabelled):
    """Sum of |b - 0.5 - F|^2, |mean b - 0.5|^2 per bit, and |F - F'|^2 to another view."""

    views = 2
    takes_hidden = True

    def forward(self, views: Tensor) -> Tensor:
        """Return the loss of features [2, B, F]; F is the value, b is 1 where it is positive."""
        values, turned = (self.values(view) for view in views)
        bits = (values > 0).float()
        quantization = (bits - 0.5 - values).square().sum(1).mean()
        passed = values + (bits - values).detach()
        even = (passed.mean(0) - 0.5).square().sum()
        invariance = (turned - values).square().sum(1).mean()
        loss: Tensor = quantization + EVEN * even + ROTATION * invariance
        return loss
