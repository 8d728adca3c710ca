"""A finished hash network as a chain of torch layers that can be replaced one by one.

The early layers have few weights and large maps: they are left alone, and their maps are computed
once for all variants of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edge_runtime.code import Code, binarize, pack
from edge_runtime.errors import ModelError
from training.data.pixel_cache import PixelCache
from training.eval.retrieval import CodeSet, mean_ap
from training.methods.linear_map import LinearMap
from training.models.alexnet import AlexNet, folded
from training.models.mobilenet_v1 import BLOCKS, SameConv
from training.papers.inputs import clean_batch

_BATCH = 32
_KEPT_UNITS = 13  # of MobileNet-v1: up to the first block of 512 channels


@dataclass(frozen=True)
class Chain:
    """A hash network: `early` layers that stay as they are, `late` ones, the input side."""

    name: str
    early: nn.Sequential
    late: nn.Sequential
    side: int

    def with_late(self, late: nn.Sequential) -> Chain:
        """Return the network with other late layers."""
        return Chain(self.name, self.early, late.eval(), self.side)

    @property
    def whole(self) -> nn.Sequential:
        """All layers in a row: images float [N, 3, S, S] -> activations float [N, K]."""
        return nn.Sequential(*self.early, *self.late)


def mobilenet_chain(path: Path) -> Chain:
    """Read the shipped hash network (ONNX); raises ModelError for another architecture."""
    try:
        arrays = {
            each.name: torch.from_numpy(np.array(numpy_helper.to_array(each)))
            for each in onnx.load(path).graph.initializer
        }
        strides = [2, *(step for _, stride in BLOCKS for step in (stride, 1))]
        units = [_unit(arrays, number, stride) for number, stride in enumerate(strides)]
        last = _linear(arrays["hash.weight"], arrays["hash.bias"])
    except Exception as error:  # protobuf and onnx raise almost anything for a damaged file
        raise ModelError(
            f"not a MobileNet-v1 hash network: {error}", where=path, remedy="give the shipped model"
        ) from error
    early = nn.Sequential(*(layer for unit in units[:_KEPT_UNITS] for layer in unit))
    late = nn.Sequential(
        *(layer for unit in units[_KEPT_UNITS:] for layer in unit),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), last,
    )  # fmt: skip
    return Chain("MobileNet-v1", early.eval(), late.eval(), 224)


def alexnet_chain(network: AlexNet, layer: LinearMap) -> Chain:
    """Return the AlexNet-shaped network with hash layer `layer`, its batch norms folded."""
    parts: list[nn.Module] = []
    for number, each in enumerate(folded(network)):
        parts += [nn.Flatten()] if number == 5 else []
        parts += [each, nn.ReLU()]
        parts += [nn.MaxPool2d(3, 2)] if number in (0, 1, 4) else []
    parts.append(_linear(*(torch.from_numpy(array) for array in layer)))
    early, late = nn.Sequential(*parts[:6]), nn.Sequential(*parts[6:])
    return Chain("AlexNet-shaped", early.eval(), late.eval(), network.side)


def _unit(arrays: dict[str, Tensor], number: int, stride: int) -> list[nn.Module]:
    weight, bias = arrays[f"unit{number}.weight"], arrays[f"unit{number}.bias"]
    depthwise = weight.shape[1] == 1 and number % 2 == 1
    inputs = weight.shape[0] if depthwise else weight.shape[1]
    convolution = SameConv(
        inputs, weight.shape[0], weight.shape[2], stride, inputs if depthwise else 1
    )
    convolution.weight = nn.Parameter(weight)
    return [convolution, Bias(bias), nn.ReLU6()]


class Bias(nn.Module):
    """Add a bias per channel to float [N, C, H, W]."""

    def __init__(self, bias: Tensor):
        super().__init__()
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + bias."""
        return x + self.bias[:, None, None]


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight.float()), nn.Parameter(bias.float())
    return layer


class Judge:
    """MAP@100 of variants of one network; the maps of its early layers are computed once."""

    def __init__(self, chain: Chain, database: PixelCache, queries: PixelCache):
        self.database, self.queries = database, queries
        self._maps = [_run(chain.early, _images(each, chain.side)) for each in (database, queries)]

    def samples(self, count: int) -> Tensor:
        """Return the early maps of `count` photos spread over the database, to fit variants to."""
        return torch.from_numpy(self._maps[0][self.sampled(count)].astype(np.float32))

    def sampled(self, count: int) -> NDArray[np.int64]:
        """Return the places of `count` photos spread over the database, or of all."""
        total = len(self.database)
        return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)

    def features(self, late: nn.Sequential) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `late` makes of the photos of both sides, float32 [N, F]."""
        database, queries = (_run(late, _parts(maps), np.float32) for maps in self._maps)
        return database, queries

    def mean_ap(self, late: nn.Sequential) -> float:
        """Return MAP@100 in percent of the codes that `late` makes."""
        found = self.features(late)
        sides = (
            CodeSet(cache.photos, _codes(values))
            for cache, values in zip((self.database, self.queries), found, strict=True)
        )
        return round(mean_ap(*sides), 2)


def _codes(values: NDArray[np.float32]) -> Code:
    return pack(binarize(values, 0.0))


def _images(cache: PixelCache, side: int) -> Iterable[Tensor]:
    for start in range(0, len(cache), _BATCH):
        rows = range(start, min(start + _BATCH, len(cache)))
        yield torch.from_numpy(clean_batch(cache, rows, side))


def _parts(maps: NDArray[np.float16]) -> Iterable[Tensor]:
    for start in range(0, len(maps), _BATCH):
        yield torch.from_numpy(maps[start : start + _BATCH].astype(np.float32))


def _run(
    layers: nn.Sequential, batches: Iterable[Tensor], kind: type[np.floating] = np.float16
) -> NDArray[np.floating]:
    with torch.inference_mode():
        return np.concatenate([layers(batch).numpy().astype(kind) for batch in batches])


def replaced(late: nn.Sequential, change: Callable[[int, nn.Module], nn.Module]) -> nn.Sequential:
    """Return the layers with each replaced by `change(place, layer)`."""
    return nn.Sequential(*(change(place, layer) for place, layer in enumerate(late)))


def matrix_of(layer: nn.Module) -> Tensor | None:
    """Return the weight of a 1 x 1 convolution or a fully connected layer, float [O, I]."""
    if isinstance(layer, nn.Linear):
        return layer.weight.detach()
    if isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.kernel_size == (1, 1):
        return layer.weight.detach()[:, :, 0, 0]
    return None


def moments(late: nn.Sequential, samples: Tensor) -> dict[int, Tensor]:
    """Return the mean of x x^T over the inputs x of each layer with a matrix, by its place."""
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        for place, layer in enumerate(late):
            if matrix_of(layer) is not None:
                rows = samples.transpose(1, -1).flatten(0, -2) if samples.ndim == 4 else samples
                found[place] = (rows.T @ rows / len(rows)).clone()
            samples = layer(samples)
    return found
