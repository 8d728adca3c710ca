"""A chain of torch layers as a row of plain layers, for the research program and for int8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from training.models.mobilenet_v1 import SameConv
from training.papers.compressed.chain import Bias, Chain
from training.papers.compressed.qcnn.layers import (
    DENSE,
    DEPTHWISE,
    FLATTEN,
    MAX_POOL,
    MEAN_POOL,
    Floats,
    Layer,
    Network,
)


def chain_layers(chain: Chain) -> Network:
    """Return the network; its answer is the sigmoid of the chain's activations."""
    found: list[Layer] = []
    for module in _single(chain.whole):
        last = found[-1] if found else Layer("", 0, 3, 0, chain.side)
        if isinstance(module, Bias):
            found[-1] = replace(last, bias=_array(module.bias))
        elif isinstance(module, nn.ReLU | nn.ReLU6):
            found[-1] = replace(
                last, activation="relu6" if isinstance(module, nn.ReLU6) else "relu"
            )
        elif isinstance(module, nn.Conv2d):
            found.append(_convolution(module, last))
        elif isinstance(module, nn.Linear):
            weight = _array(module.weight)[:, :, None, None]
            found.append(
                Layer(DENSE, module.in_features, module.out_features, 1, 1, weight=weight,
                      bias=_bias(module))
            )  # fmt: skip
        elif isinstance(module, nn.MaxPool2d):
            side = (last.out_size - 3) // 2 + 1
            found.append(Layer(MAX_POOL, last.outputs, last.outputs, last.out_size, side, 3, 2))
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            side = last.out_size
            found.append(Layer(MEAN_POOL, last.outputs, last.outputs, side, 1, side, side))
        elif last.kind != MEAN_POOL:  # its maps are one position each
            count = last.outputs * last.out_size**2
            found.append(Layer(FLATTEN, last.outputs, count, last.out_size, 1))
    found[-1] = replace(found[-1], activation="sigmoid")
    return Network(tuple(found), 3, chain.side)


def _single(layers: nn.Sequential) -> Iterator[nn.Module]:
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            yield from _single(layer)
        else:
            yield layer


def _convolution(module: nn.Conv2d, last: Layer) -> Layer:
    window, stride, side = module.kernel_size[0], module.stride[0], last.out_size
    if isinstance(module, SameConv):
        made = -(-side // stride)
        pad = max((made - 1) * stride + window - side, 0) // 2
    else:
        pad = int(module.padding[0])
        made = (side + 2 * pad - window) // stride + 1
    kind = DEPTHWISE if module.groups == module.in_channels > 1 else DENSE
    return Layer(
        kind, module.in_channels, module.out_channels, side, made, window, stride, pad,
        module.groups, weight=_array(module.weight), bias=_bias(module),
    )  # fmt: skip


def _array(values: Tensor) -> Floats:
    return np.ascontiguousarray(values.detach().numpy(), np.float32)


def _bias(module: nn.Conv2d | nn.Linear) -> Floats:
    if module.bias is None:
        return np.zeros(module.weight.shape[0], np.float32)
    return _array(module.bias)
