"""MobileNet-v1 with a latent hash layer: the network of Qi, Liu & Liu (2017), Table 1.

conv 3x3 s2, thirteen depthwise-separable blocks, global average pool to 1024 features, a hash layer
of K units fully connected to them (equation 3: a = sigmoid(W f + e); equation 4: bit = a > 0.5) and
a classifier that sees only the codes. Padding is TensorFlow's SAME: at stride 2 on an even
side one row is added below and one column on the right, none above or on the left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.staged import Staged

# (output channels, stride) of each depthwise-separable block at width 1.0: paper, Table 1.
BLOCKS: tuple[tuple[int, int], ...] = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
BN_EPSILON = 1e-3  # the epsilon the ImageNet weights were trained with


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, square kernel, no bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, 0, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve float [N, C, H, W]; the output side is ceil(side / stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:  # symmetric for an odd kernel: no copy of the input needed
            return functional.conv2d(x, self.weight, None, 1, kernel // 2, 1, self.groups)
        down = max((-(-x.shape[-2] // stride) - 1) * stride + kernel - x.shape[-2], 0)
        across = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = functional.pad(x, [across // 2, across - across // 2, down // 2, down - down // 2])
        return functional.conv2d(x, self.weight, None, stride, 0, 1, self.groups)


def unit(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    """Return a convolution followed by batch norm and ReLU6."""
    return nn.Sequential(
        SameConv(inputs, outputs, kernel, stride, groups),
        nn.BatchNorm2d(outputs, eps=BN_EPSILON, momentum=0.03),
        nn.ReLU6(),
    )


class Backbone(Staged):
    """MobileNet-v1 up to the pooled features: float [N, 3, S, S] in [-1, 1] -> float [N, F].

    The first seven units (up to 128 channels) take half of the time of a training step.
    """

    def __init__(self, width: float = 1.0):
        channels = int(32 * width)
        units = [unit(3, channels, 3, 2)]
        for outputs, stride in BLOCKS:
            units.append(unit(channels, channels, 3, stride, channels))
            units.append(unit(channels, int(outputs * width), 1, 1))
            channels = int(outputs * width)
        super().__init__(units, channels, width)

    def gather(self, last: Tensor) -> Tensor:
        """Return the pooled features, 1024 of them at width 1.0."""
        pooled: Tensor = last.mean((2, 3))
        return pooled


class HashNetwork(nn.Module):
    """Backbone and hash layer: images float [N, 3, S, S] -> activations float [N, K] in (0, 1)."""

    def __init__(self, bits: int = 64, width: float = 1.0):
        super().__init__()
        self.bits, self.width = bits, width
        self.backbone = Backbone(width)
        self.hash = nn.Linear(self.backbone.features, bits)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations (paper, equation 3); bit k is 1 where activation k exceeds 0.5."""
        return torch.sigmoid(self.hash(self.backbone(x)))
