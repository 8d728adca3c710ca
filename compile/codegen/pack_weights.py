"""The constants that kernels read, laid out as they read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Layer, Network, Quantised, Weights
from compile.kernels import separable, stem, words
from compile.target.vector_unit import PLAIN, VNNI, Vector

Constants = list[NDArray[Any]]


def packed(weight: NDArray[Any], nr: int) -> NDArray[Any]:
    """[K, N] as the product reads it, [N / nr, K, nr]."""
    inputs, outputs = weight.shape
    return weight.reshape(inputs, outputs // nr, nr).transpose(1, 0, 2)


def stem_constants(network: Network, layer: Layer, shape: stem.Stem, vector: Vector) -> Constants:
    """W, B with normalisation and colour order folded in; in int8 with the scale and zero of a
    byte, or W, B, F."""
    spec, made = network.model.input, layer.quantised
    if made is not None and shape.whole:
        outputs, wide = layer.outputs, layer.window * stem.COLOURS
        rows = made.weight[:, ::-1].transpose(2, 0, 3, 1).reshape(layer.window, outputs, wide)
        rows = np.pad(rows, ((0, 0), (0, 0), (0, -wide % words.WORD)))
        rows = rows.reshape(layer.window, outputs, -1, words.WORD).transpose(0, 2, 1, 3)
        packed_words = np.ascontiguousarray(rows).view(np.int32)[..., 0]
        return [packed_words, _bias(made, vector), made.factor]
    weight = layer.weight.astype(np.float64)
    # (pixel - centre) * scale is what pixel * scale + offset is, but for a constant
    left = spec.offset + shape.centre * spec.scale
    bias = layer.bias + weight.sum(axis=(1, 2, 3)) * left + weight.sum(axis=(2, 3)) @ network.tint
    blue_first = (weight * spec.scale)[:, ::-1].transpose(2, 3, 1, 0)
    if made is not None and not made.real:
        blue_first = blue_first / made.scale
        bias = bias / made.scale + made.zero
    wanted = (layer.window, layer.window * stem.COLOURS, layer.outputs)
    return [blue_first.reshape(wanted).astype(np.float32), bias.astype(np.float32)]


def depthwise_constants(layer: Layer) -> Constants:
    """DW, DB or, in int8, DW, DM, DB, DS."""
    made = layer.quantised
    if made is None:
        return [layer.weight[:, 0].transpose(1, 2, 0), layer.bias]
    weight = made.weight.transpose(1, 2, 0)
    if weight.dtype == np.float32:
        return [weight, made.bias]
    return [weight, made.factor, made.offset, made.shift]


def pointwise_constants(
    layer: Layer, shape: separable.Block, knobs: separable.ScheduleConfig, vector: Vector
) -> Constants:
    """W, B or, in int8, W, B, F."""
    made = layer.quantised
    if made is None:
        return [packed(layer.weight[:, :, 0, 0].T, knobs.nr), layer.bias]
    outputs, inputs = made.weight.shape
    step = words.step(shape, vector)
    rows = made.weight.reshape(outputs // knobs.nr, knobs.nr, inputs // step, step)
    packed_words = np.ascontiguousarray(rows.transpose(0, 2, 1, 3)).view(np.int32)
    return [packed_words, _bias(made, vector), made.factor]


def _bias(made: Quantised, vector: Vector) -> NDArray[np.int32]:
    if vector.way not in (VNNI, PLAIN):
        return made.bias
    # their left side is unsigned, 128 more
    rows = made.weight.reshape(len(made.weight), -1)
    return made.bias - 128 * rows.sum(axis=1, dtype=np.int32)


def head_constants(network: Network, pixels: int) -> tuple[Weights, Weights, float | None]:
    """W, B of the tail, and what its sums count (None: 1 / pixels)."""
    weight = np.ascontiguousarray(network.hash_weight.T)
    made = network.layers[network.hash_source].quantised
    if made is None:
        return weight, network.hash_bias, None
    bias = network.hash_bias - made.zero * (made.scale.astype(np.float64) @ weight)
    weight = weight.astype(np.float64) * made.scale[:, np.newaxis]
    largest = float(np.abs(weight).max())
    # between -1 and 1, where float16 is fine
    return (weight / largest).astype(np.float16), bias.astype(np.float32), largest / pixels
