"""AlexNet (Krizhevsky, Sutskever & Hinton 2012) as a backbone, at the original's size or smaller.

Five convolutions, three poolings and two fully connected layers; convolutions 2, 4 and 5 in two
groups, as on the original's two GPUs. DLBH and SSDH put their latent layer on the second fully
connected layer. One thing differs: a batch norm follows every layer, and the original's response
normalization and dropout are left out. Batch norms fold into the weights (`folded`), so size
and multiply-adds are those of the original.

At full size the two layers take inputs of 227 pixels and have 4096 units. No weights of the
original with a license are at hand: `python -m training papers alexnet` trains a smaller one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_runtime.errors import ModelError
from training.files import write_whole
from training.models.staged import Staged

SIDE = 227
HIDDEN = 4096
IMAGENET_CLASSES = 1000
# Per convolution: outputs, kernel, stride, padding, groups, and whether a pooling follows.
CONVOLUTIONS: tuple[tuple[int, int, int, int, int, bool], ...] = (
    (96, 11, 4, 0, 1, True), (256, 5, 1, 2, 2, True), (384, 3, 1, 1, 1, False),
    (384, 3, 1, 1, 2, False), (256, 3, 1, 1, 2, True),
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """What one layer with weights costs: parameters with biases, and multiply-adds per photo."""

    name: str
    parameters: int
    multiply_adds: int


def _sizes(side: int) -> list[tuple[int, int]]:
    """Return the side in pixels of each convolution's output and of what its pooling leaves."""
    found = []
    for _, kernel, stride, padding, _, pooled in CONVOLUTIONS:
        made = (side + 2 * padding - kernel) // stride + 1
        side = (made - 3) // 2 + 1 if pooled else made
        found.append((made, side))
    if side < 1:
        raise ModelError("AlexNet needs a larger input", remedy="give at least 67 pixels")
    return found


class AlexNet(Staged):
    """Images float [N, 3, side, side] in [-1, 1] -> float [N, hidden].

    `width` scales the channels of the convolutions, `hidden` is the size of the two fully
    connected layers, `side` the input side in pixels, to which the first of them is bound.
    """

    limit = 8.0

    def __init__(self, width: float = 1.0, side: int = SIDE, hidden: int = HIDDEN):
        units, channels = [], 3
        for outputs, kernel, stride, padding, groups, pooled in CONVOLUTIONS:
            made = 2 * round(outputs * width / 2)  # even, for two groups
            parts = [
                nn.Conv2d(channels, made, kernel, stride, padding, groups=groups, bias=False),
                nn.BatchNorm2d(made, momentum=0.03),
                nn.ReLU(),
            ]
            units.append(nn.Sequential(*parts, *([nn.MaxPool2d(3, 2)] if pooled else [])))
            channels = made
        inputs = channels * _sizes(side)[-1][1] ** 2
        units.append(nn.Sequential(nn.Flatten(), *_connected(inputs, hidden)))
        units.append(nn.Sequential(*_connected(hidden, hidden)))
        super().__init__(units, hidden, width)
        self.side, self.hidden = side, hidden

    def gather(self, last: Tensor) -> Tensor:
        """Return the output of the second fully connected layer."""
        return last

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments that make a network of this architecture."""
        return {"width": self.width, "side": self.side, "hidden": self.hidden}


def _connected(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs, momentum=0.03), nn.ReLU(),
    ]  # fmt: skip


def folded(network: Staged) -> list[nn.Conv2d | nn.Linear]:
    """Return the layers in order, with the batch norm behind each folded into weight and bias.

    Their results are those of `network` in evaluation mode, with ReLU and pooling in between.
    """
    layers: list[nn.Conv2d | nn.Linear] = []
    for unit in network.units:
        for part, norm in zip(unit, list(unit)[1:], strict=False):
            if isinstance(part, nn.Conv2d):
                assert isinstance(norm, nn.BatchNorm2d)
                layers.append(torch.nn.utils.fusion.fuse_conv_bn_eval(part.eval(), norm.eval()))
            elif isinstance(part, nn.Linear):
                assert isinstance(norm, nn.BatchNorm1d)
                layers.append(torch.nn.utils.fusion.fuse_linear_bn_eval(part.eval(), norm.eval()))
    return layers


def layers(network: AlexNet, outputs: int) -> list[Layer]:
    """Return the cost of each layer, with a last one of `outputs` units, batch norms folded."""
    sides = [made for made, _ in _sizes(network.side)]
    found = []
    for number, layer in enumerate(folded(network)):
        weights = layer.weight.numel()
        convolution = isinstance(layer, nn.Conv2d)
        times = sides[number] ** 2 if convolution else 1
        name = f"conv{number + 1}" if convolution else f"fc{number + 1}"
        found.append(Layer(name, weights + layer.weight.shape[0], weights * times))
    last = network.hidden * outputs
    return [*found, Layer(f"fc{len(found) + 1}", last + outputs, last)]


def save_network(path: Path, network: AlexNet) -> None:
    """Write shape and weights to `path` atomically; raises StorageError when writing fails."""
    state = {"shape": network.shape, "weights": network.state_dict()}
    write_whole(path, lambda file: torch.save(state, file))


def load_network(path: Path) -> AlexNet:
    """Read what `save_network` wrote; raises ModelError."""
    remedy = "python -m training papers alexnet trains one"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        network = AlexNet(**state["shape"])
        network.load_state_dict(state["weights"])
    except Exception as error:  # torch raises almost anything for a damaged file
        what = "not found" if isinstance(error, FileNotFoundError) else "not a stored AlexNet"
        raise ModelError(what, where=path, remedy=remedy) from error
    network.eval()
    return network
