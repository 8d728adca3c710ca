"""Quantize a float32 network to int8, calibrated on photographs.

An activation of channel c represents scale[c] * (byte - zero), with a signed byte. A scale per
channel costs nothing at run time: the convolution that writes the channel multiplies by it anyway,
and the one that reads it has it folded into its weights. Weights are signed bytes with one scale
per output channel.

Products of bytes that are added in a 16-bit number must not overflow it:
128 * (sum of their absolute weights) < 2**15. This holds for every other tap of a depthwise window
and, on an ARM CPU without the dot product, for the four products that `smull` and `smlal` add up. A
channel whose weights are too large gets a larger scale, which makes its weights smaller numbers.

Rounding shifts the mean of a channel. The shift is measured on the photographs and subtracted from
the bias (Nagel et al. 2019). All tensors are padded with zeros to a multiple of 16 channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Layer, Network, QuantizedLayer
from compile.kernels.instructions import FRACTION
from compile.kernels.words import CHANNELS, chain_of, every_other_tap
from compile.quantization.gptq import quantize_weights
from compile.quantization.reference import (
    activate,
    convolve,
    finish,
    means,
    products,
    to_bytes,
    windows,
)
from compile.target.vector_unit import SMULL, Vector
from edge_runtime.image import Image
from edge_runtime.image.preprocess import normalize
from edge_runtime.model import InputSpec

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]

SAMPLES = 4000
"""Pixels from which moments are estimated."""
MAX_SHIFT = 6
FINEST = 2.0**-16
"""Smallest factor. A smaller one would need a bias beyond int32."""
MARGIN = 1.25
"""Range of a channel relative to its largest calibration value: other photographs exceed it."""
MIN_RANGE = 1 / 8
"""Smallest range of a channel relative to the largest range in its tensor."""


def quantize(network: Network, pictures: Image, vector: Vector) -> Network:
    """Quantize `network` for the instructions of `vector`.

    `pictures` [N, S, S, 3] are preprocessed calibration pictures. Ranges that the ONNX file states
    (`Layer.output_range`) are used unchanged.
    """
    padded = pad_channels(network)
    exact: list[Floats] = []
    run: list[NDArray[Any]] = []
    inputs = _normalized(network, pictures)
    for index, layer in enumerate(padded.layers):
        source = inputs if layer.source < 0 else exact[layer.source]
        sums = convolve(layer, source)
        if layer.residual is not None:
            sums += exact[layer.residual]
        exact.append(activate(sums, layer.limit))
        scale, zero = _range(layer, exact[-1])
        before = None if layer.source < 0 else padded.layers[layer.source].quantized
        other = None if layer.residual is None else padded.layers[layer.residual].quantized
        empty = QuantizedLayer(
            scale, zero, before.zero if before else 0, _keeps_float_output(padded, index)
        )
        rest = (before, other, network, vector)
        left = (pictures ^ 128).view(np.int8)[..., ::-1] if before is None else run[layer.source]
        layer.quantized = _integers(layer, empty, *rest, left)
        if not layer.quantized.weight.size:
            run.append(exact[-1] if empty.float_output else to_bytes(exact[-1] / scale + zero))
            continue
        right = None if layer.residual is None else run[layer.residual]
        # The sums still include what the activation will clip.
        found = products(layer, left)
        drift = sums.mean(axis=(0, 1, 2), dtype=np.float64) - means(layer, found, right)
        _correct(layer, drift)
        if layer.quantized.weight.dtype == np.float32:
            found = products(layer, left)  # these include the bias, which has just changed
        run.append(finish(layer, found, right))
    return padded


def _keeps_float_output(network: Network, index: int) -> bool:
    """Whether the layer is the first one and only a depthwise convolution reads it.

    The next layers depend on differences in its output, for which a byte is too coarse.
    """
    readers = [layer.kind for layer in network.layers if layer.source == index]
    added = any(layer.residual == index for layer in network.layers)
    return network.layers[index].source < 0 and set(readers) == {"depthwise"} and not added


def pad_channels(network: Network) -> Network:
    """Return a copy of `network` whose tensors have a multiple of CHANNELS channels."""

    def more(array: Floats, axis: int) -> Floats:
        rows = [(0, 0)] * array.ndim
        rows[axis] = (0, -array.shape[axis] % CHANNELS)
        return np.pad(array, rows)

    layers = []
    for layer in network.layers:
        weight = more(layer.weight, 0)
        if layer.kind == "pointwise":
            weight = more(weight, 1)
        layers.append(replace(layer, weight=weight, bias=more(layer.bias, 0)))
    return replace(network, layers=layers, hash_weight=more(network.hash_weight, 1))


def _normalized(network: Network, pictures: Image) -> Floats:
    size = network.model.input.size
    tensor = np.empty((len(pictures), 3, size, size), np.float32)
    for picture, row in zip(pictures, tensor, strict=True):
        normalize(picture, network.model.input, row)
    return np.ascontiguousarray(
        tensor.transpose(0, 2, 3, 1) + network.color_offset.astype(np.float32)
    )


def _range(layer: Layer, values: Floats) -> tuple[Floats, int]:
    """Return the scale [O] and the zero of a layer's output."""
    if layer.output_range is not None:
        low, high = layer.output_range
        low = 0.0 if layer.limit is not None else low
        high = min(high, layer.limit) if layer.limit is not None else high
        scale = (high - low) / 255
        return np.full(layer.outputs, scale, np.float32), round(-low / scale) - 128
    largest = np.abs(values).max(axis=(0, 1, 2)) * MARGIN
    largest = np.maximum(largest, max(float(largest.max()), 1e-3) * MIN_RANGE)
    if layer.limit is None:
        return (largest / 127).astype(np.float32), 0
    return (np.minimum(largest, layer.limit) / 255).astype(np.float32), -128


def _integers(
    layer: Layer,
    empty: QuantizedLayer,
    before: QuantizedLayer | None,
    other: QuantizedLayer | None,
    network: Network,
    vector: Vector,
    inputs: NDArray[Any],
) -> QuantizedLayer:
    integers = replace(empty)
    if before is None:
        spec = network.model.input
        # The stem may run in integers only if the border, zero, is 128 to within one step.
        if (
            vector.dot_product_kind != SMULL
            and (np.abs(128 + (spec.offset + network.color_offset) / spec.scale) < 1).all()
        ):
            _stem(layer, integers, spec)
    elif layer.kind == "depthwise" and before.float_output:
        integers.weight = (layer.weight[:, 0] / integers.scale[:, None, None]).astype(np.float32)
        integers.bias = (layer.bias / integers.scale + integers.zero).astype(np.float32)
    elif layer.kind == "depthwise":
        _depthwise(layer, before, integers, inputs)
    else:
        _pointwise(layer, before, other, integers, vector, inputs)
    return integers


def _stem(layer: Layer, integers: QuantizedLayer, spec: InputSpec) -> None:
    """Quantize weights of pixels minus 128. A pixel represents scale * pixel + offset."""
    weight = layer.weight.astype(np.float64) * spec.scale
    least = np.maximum(FINEST * integers.scale, np.abs(layer.bias) / 2**24)
    flat, step = quantize_weights(
        weight.reshape(len(weight), -1), lambda w: np.zeros(len(w)), least, None
    )
    integers.weight = flat.reshape(weight.shape)
    sums = integers.weight.sum(axis=(1, 2, 3), dtype=np.float64)
    more = (128 + spec.offset / spec.scale) * sums  # the contribution of 128 in each pixel
    if integers.float_output:
        integers.factor = step.astype(np.float32)
        integers.bias = np.rint(layer.bias / step + more).astype(np.int32)
    else:
        _set_factor(integers, step, layer.bias / integers.scale + integers.zero, more)


def _set_factor(
    integers: QuantizedLayer, step: NDArray[Any], ends: NDArray[Any], more: NDArray[Any]
) -> None:
    """Set factor and bias for sums in units of `step`.

    The bias adds `ends`, in bytes of the output, and `more`, in units of the sums.
    """
    share = np.minimum(step / integers.scale, 0.99 / 2**FRACTION)
    integers.factor = np.rint(share * 2.0 ** (31 + FRACTION)).astype(np.int32)
    integers.bias = np.rint(np.clip(ends, -4096, 4096) / share + more).astype(np.int32)


def _depthwise(
    layer: Layer, before: QuantizedLayer, integers: QuantizedLayer, inputs: NDArray[Any]
) -> None:
    weight = layer.weight[:, 0].astype(np.float64) * before.scale[:, None, None]
    window = layer.window
    places = np.arange(window**2).reshape(window, window)
    halves = [[places[tap] for tap in taps] for taps in every_other_tap(window)]
    flat, step = quantize_weights(
        weight.reshape(len(weight), -1),
        lambda w: np.max([w[:, half].sum(axis=1) for half in halves], axis=0),
        FINEST * integers.scale.astype(np.float64),
        _moments(layer, inputs, before.zero),
    )
    integers.weight = flat.reshape(weight.shape)
    factor = step / integers.scale
    sums = integers.weight.sum(axis=(1, 2), dtype=np.float64)
    offset = layer.bias / integers.scale - before.zero * sums * factor + integers.zero
    # Product and offset fit into 16 bits, and so does their sum. Channels with very large weights
    # saturate.
    reach = 128 * np.abs(integers.weight).sum(axis=(1, 2), dtype=np.float64) * factor
    room = np.minimum(np.log2(32767 / (reach + np.abs(offset))), np.log2(0.99 / (2 * factor)))
    integers.shift = np.clip(np.floor(room), 0, MAX_SHIFT).astype(np.int16)
    share = 2.0 ** (15 + integers.shift)
    integers.factor = np.clip(np.rint(2 * factor * share), 0, 32767).astype(np.int16)
    # Correct for the rounding of the factor, and by half of what the shift drops.
    offset += before.zero * sums * (factor - integers.factor / (2 * share)) + 0.5 * (
        integers.shift > 0
    )
    integers.offset = np.clip(np.rint(offset * 2.0**integers.shift), -32768, 32767).astype(np.int16)


def _pointwise(
    layer: Layer,
    before: QuantizedLayer,
    other: QuantizedLayer | None,
    integers: QuantizedLayer,
    vector: Vector,
    inputs: NDArray[Any],
) -> None:
    weight = layer.weight[:, :, 0, 0].astype(np.float64) * before.scale
    registers = 2 * chain_of(weight.shape[1], vector)

    def accumulated(w: NDArray[np.float64]) -> NDArray[np.float64]:
        if vector.dot_product_kind != SMULL:
            return np.zeros(len(w))
        return np.asarray(w.reshape(len(w), -1, registers, 8).sum(axis=2).max(axis=(1, 2)))

    least = FINEST * integers.scale.astype(np.float64)
    integers.weight, step = quantize_weights(
        weight, accumulated, least, _moments(layer, inputs, before.zero)
    )
    more = -before.zero * integers.weight.sum(axis=1, dtype=np.int64)
    if other is not None:
        integers.residual = np.rint(other.scale / step).astype(np.int32)
        more -= integers.residual * other.zero
    _set_factor(integers, step, layer.bias / integers.scale + integers.zero, more)


def _moments(layer: Layer, inputs: NDArray[Any], zero: int) -> NDArray[np.float64]:
    """Return the mean products of the inputs of `layer`, as `quantize_weights` takes them."""
    if layer.kind == "pointwise":
        rows = inputs.reshape(-1, inputs.shape[-1])
        rows = rows[:: max(1, len(rows) // SAMPLES)].astype(np.float32) - np.float32(zero)
        return np.asarray((rows.T @ rows).astype(np.float64) / len(rows))
    taps = np.stack([part.reshape(-1, part.shape[-1]) for part in windows(layer, inputs, zero)])
    taps = taps[:, :: max(1, taps.shape[1] // SAMPLES)].astype(np.float32) - np.float32(zero)
    by_channel = np.ascontiguousarray(taps.transpose(2, 0, 1))
    moments = by_channel @ by_channel.transpose(0, 2, 1)
    return np.asarray(moments.astype(np.float64) / taps.shape[1])


def _correct(layer: Layer, drift: NDArray[np.float64]) -> None:
    """Add `drift` to the mean of each output channel."""
    integers = layer.quantized
    assert integers is not None
    if integers.float_output:
        integers.bias += np.rint(drift / integers.factor).astype(np.int32)
    elif integers.weight.dtype == np.float32:
        integers.bias += (drift / integers.scale).astype(np.float32)
    elif layer.kind == "depthwise":
        offset = integers.offset + np.rint(drift / integers.scale * 2.0**integers.shift)
        integers.offset = np.clip(offset, -32768, 32767).astype(np.int16)
    else:
        share = integers.factor / 2.0 ** (31 + FRACTION)
        integers.bias += np.rint(drift / integers.scale / share).astype(np.int32)
