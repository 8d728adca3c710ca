"""Lay out constants in the order in which the kernels read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Layer, Network, QuantizedLayer, Weights
from compile.kernels import stem, words
from compile.kernels.separable import Block, BlockConfig
from compile.target.vector_unit import PLAIN, VNNI, Vector

Constants = list[NDArray[Any]]


def packed(weight: NDArray[Any], nr: int) -> NDArray[Any]:
    """Reorder [K, N] weights to [N / nr, K, nr], the order of the matrix product."""
    inputs, outputs = weight.shape
    return weight.reshape(inputs, outputs // nr, nr).transpose(1, 0, 2)


def stem_constants(network: Network, layer: Layer, shape: stem.Stem, vector: Vector) -> Constants:
    """Return W and B of the first convolution, with normalization and color order folded in.

    In int8 they include the scale and zero of a byte. If the convolution itself runs in integers,
    the result is W, B, F.
    """
    spec, quantized = network.model.input, layer.quantized
    if quantized is not None and shape.integer:
        outputs, wide = layer.outputs, layer.window * stem.COLORS
        rows: NDArray[Any] = (
            quantized.weight[:, ::-1].transpose(2, 0, 3, 1).reshape(layer.window, outputs, wide)
        )
        rows = np.pad(rows, ((0, 0), (0, 0), (0, -wide % words.WORD)))
        rows = rows.reshape(layer.window, outputs, -1, words.WORD).transpose(0, 2, 1, 3)
        packed_words = np.ascontiguousarray(rows).view(np.int32)[..., 0]
        return [packed_words, _bias(quantized, vector), quantized.factor]
    weight: NDArray[np.float64] = layer.weight.astype(np.float64)
    # (pixel - center) * scale equals pixel * scale + offset up to a constant.
    constant = spec.offset + shape.center * spec.scale
    bias = (
        layer.bias
        + weight.sum(axis=(1, 2, 3)) * constant
        + weight.sum(axis=(2, 3)) @ network.color_offset
    )
    blue_first = (weight * spec.scale)[:, ::-1].transpose(2, 3, 1, 0)
    if quantized is not None and not quantized.float_output:
        blue_first = blue_first / quantized.scale
        bias = bias / quantized.scale + quantized.zero
    wanted = (layer.window, layer.window * stem.COLORS, layer.outputs)
    return [blue_first.reshape(wanted).astype(np.float32), bias.astype(np.float32)]


def depthwise_constants(layer: Layer) -> Constants:
    """Return DW, DB; in int8 DW, DM, DB, DS (see kernels/quantized.py)."""
    quantized = layer.quantized
    if quantized is None:
        return [layer.weight[:, 0].transpose(1, 2, 0), layer.bias]
    weight = quantized.weight.transpose(1, 2, 0)
    if weight.dtype == np.float32:
        return [weight, quantized.bias]
    return [weight, quantized.factor, quantized.offset, quantized.shift]


def pointwise_constants(
    layer: Layer, shape: Block, config: BlockConfig, vector: Vector
) -> Constants:
    """Return W, B; in int8 W, B, F (see kernels/quantized.py)."""
    quantized = layer.quantized
    if quantized is None:
        return [packed(layer.weight[:, :, 0, 0].T, config.nr), layer.bias]
    outputs, inputs = quantized.weight.shape
    step = words.step(shape, vector)
    rows = quantized.weight.reshape(outputs // config.nr, config.nr, inputs // step, step)
    packed_words = np.ascontiguousarray(rows.transpose(0, 2, 1, 3)).view(np.int32)
    return [packed_words, _bias(quantized, vector), quantized.factor]


def _bias(quantized: QuantizedLayer, vector: Vector) -> NDArray[Any]:
    if vector.dot_product_kind not in (VNNI, PLAIN):
        return quantized.bias
    # These kinds take activations as unsigned bytes, 128 larger than the signed ones.
    rows = quantized.weight.reshape(len(quantized.weight), -1)
    return np.asarray(quantized.bias - 128 * rows.sum(axis=1, dtype=np.int32))


def feature_constants(network: Network) -> tuple[Weights, int]:
    """Return factor [F] and zero: feature = factor * (sum - zero), with the sum over all pixels."""
    layer, count = network.layers[network.hash_source], network.model.features
    pixels, quantized = layer.out_size**2, layer.quantized
    if quantized is None:
        return np.full(count, 1 / pixels, np.float32), 0
    return (quantized.scale[:count] / pixels).astype(np.float32), quantized.zero * pixels


def head_constants(network: Network, pixels: int) -> tuple[NDArray[Any], Weights, float | None]:
    """Return W, B of the hash head, and the factor of its sums (None: 1 / pixels)."""
    weight = np.ascontiguousarray(network.hash_weight.T)
    quantized = network.layers[network.hash_source].quantized
    if quantized is None:
        return weight, network.hash_bias, None
    bias = network.hash_bias - quantized.zero * (quantized.scale.astype(np.float64) @ weight)
    scaled = weight.astype(np.float64) * quantized.scale[:, np.newaxis]
    largest = float(np.abs(scaled).max())
    # Between -1 and 1 float16 is precise enough.
    return (scaled / largest).astype(np.float16), bias.astype(np.float32), largest / pixels
