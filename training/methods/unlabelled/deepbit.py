"""DeepBit (Lin, Lu, Chen & Zhou 2016, CVPR): binary, evenly distributed, rotation-invariant bits.

The source trains the last layer of VGG-16 with three losses. The even distribution counts bits,
which has no gradient; here it passes straight through to the values. Rotated views are the
augmented ones: rotated by up to 10 degrees like those of the source, and also cropped and mirrored.

Compared with the authors' code (github.com/kevinlin311tw/cvpr16-deepbit, its three loss layers and
its networks for CIFAR-10): the terms and the weights are the same, and the first two judge both
views. What differs:

- There, values pass a ReLU and a bit is value > 0.5. Here the value is centered, as in the paper.
- There, the even distribution is also divided by the images of a batch, 30. With the larger batches
  here the same bits would be set in all images: on validation images of CIFAR-10, the codes were
  clearly worse.
- There, the rotation joins after 50,000 of 55,000 steps, at a tenth of the rate. Here it is there
  from the first step on: a training has 600 steps.
- There, the weight of the rotation falls with the angle in the printed loss only: the backward step
  leaves it out, and views here have no angle of their own.
- There, the backward steps of the first two losses move all outputs of a batch by one number. It is
  another gradient than that of the losses, and the paper does not speak of it.
"""

from __future__ import annotations

from torch import Tensor

from training.methods.unlabelled.base import Unlabelled

EVEN, ROTATION = 1.0, 1e-3
"""Weights beta and gamma of the authors' code; that of the quantization, alpha, is 1."""


class DeepBit(Unlabelled):
    """Sum of |b - 0.5 - F|^2, |mean b - 0.5|^2 per bit, and |F - F'|^2 to another view."""

    views = 2
    takes_hidden = True

    def forward(self, views: Tensor) -> Tensor:
        """Return the loss of features [2, B, F]; F is the value, b is 1 where it is positive."""
        values, turned = (self.values(view) for view in views)
        invariance = (turned - values).square().sum(1).mean()
        loss: Tensor = _uncertain(values) + _uncertain(turned) + ROTATION * invariance
        return loss


def _uncertain(values: Tensor) -> Tensor:
    """Return quantization per photo, and even distribution, of values [B, K]."""
    bits = (values > 0).float()
    quantization = (bits - 0.5 - values).square().sum(1).mean()
    passed = values + (bits - values).detach()
    even = (passed.mean(0) - 0.5).square().sum()
    loss: Tensor = quantization + EVEN * even
    return loss
