"""AlexNet-shaped networks as a row of layers, and codewords for one whose weights are random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.models.alexnet import CONVOLUTIONS, AlexNet, folded
from training.papers.compressed.qcnn.codebooks import (
    Codebooks,
    Setting,
    is_worth_coding,
    reconstruct,
)
from training.papers.compressed.qcnn.fitting import Quantized
from training.papers.compressed.qcnn.layers import (
    DENSE,
    FLATTEN,
    MAX_POOL,
    Floats,
    Layer,
    Network,
)


def to_layers(network: AlexNet, head: tuple[Floats, Floats] | None = None) -> Network:
    """Return the network, batch norms folded, with a last layer (weight [K, F], bias [K])."""
    found: list[Layer] = []
    side, channels = network.side, 3
    for number, part in enumerate(folded(network)):
        weight = part.weight.detach().numpy()
        bias = np.asarray(part.bias.detach().numpy(), np.float32)
        outputs = len(weight)
        if number < len(CONVOLUTIONS):
            _, window, stride, pad, groups, pooled = CONVOLUTIONS[number]
            made = (side + 2 * pad - window) // stride + 1
            found.append(
                Layer(
                    DENSE, channels, outputs, side, made, window, stride, pad, groups, "relu",
                    weight, bias, f"conv{number + 1}",
                )
            )  # fmt: skip
            side = made
            if pooled:
                side = (made - 3) // 2 + 1
                found.append(Layer(MAX_POOL, outputs, outputs, made, side, 3, 2))
        else:
            if number == len(CONVOLUTIONS):
                found.append(Layer(FLATTEN, channels, channels * side**2, side, 1))
            found.append(_connected(weight, bias, "relu", f"fc{number + 1}"))
        channels = outputs
    if head is not None:
        found.append(_connected(*head, "sigmoid", "hash"))
    return Network(tuple(found), 3, network.side)


def _connected(weight: Floats, bias: Floats, activation: str, name: str) -> Layer:
    return Layer(
        DENSE, weight.shape[1], weight.shape[0], 1, 1, activation=activation,
        weight=weight[:, :, None, None], bias=bias.astype(np.float32), name=name,
    )  # fmt: skip


def with_random_words(network: Network, setting: Setting, seed: int) -> Quantized:
    """Return the network with random codewords and indices: its size and time, not its accuracy."""
    layers, books = list(network.layers), {}
    for number, layer in enumerate(network.layers):
        if not is_worth_coding(layer, setting):
            continue
        sub, words = setting.of(layer)
        rng = np.random.default_rng((seed, number))
        spaces = layer.inputs // layer.groups // sub
        scale = float(layer.weight.std())
        books[number] = Codebooks(
            (rng.standard_normal((layer.groups, spaces, words, sub)) * scale).astype(np.float32),
            rng.integers(
                0, words,
                (layer.groups, spaces, layer.outputs // layer.groups, layer.window**2), np.uint8,
            ),
        )  # fmt: skip
        layers[number] = reconstruct(layer, books[number])
    return Quantized(replace(network, layers=tuple(layers)), books, {})
