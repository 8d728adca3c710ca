"""int8: a network of float32 becomes one of integers, calibrated on photographs.

An activation of channel c is scale[c] * (byte - zero), the byte signed, each channel with a scale
of its own: the convolution that made it multiplies by it, and the one that reads it has it in its
weights, so it costs nothing. Weights are signed bytes with a scale for each output channel.

Where products of bytes meet in a 16-bit number they must have room there, 128 * (the sum of their
weights) < 2**15: for every other tap of a depthwise window, and, on an ARM CPU without the dot
product, for the four products that `smull` and `smlal` pile up. A channel whose weights are too
large gets a larger scale, which makes its weights smaller numbers.

What integers leave out shifts the mean of a channel; its bias is corrected by what that is on the
photographs (Nagel et al. 2019). All tensors get a multiple of 16 channels, the others being zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Layer, Network, Quantised
from compile.kernels.instructions import FRACTION
from compile.kernels.words import CHANNELS, chain_of, every_other_tap
from compile.quantization.gptq import in_bytes
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
"""Pixels that moments are taken of."""
MOST_SHIFT = 6
FINEST = 2.0**-16
"""The smallest factor, so that no bias is too large for int32."""
MARGIN = 1.25
"""Of the largest number seen: other photographs have larger ones."""
DEAD = 1 / 8
"""The smallest range of a channel, of its tensor's largest."""


def quantise(network: Network, made: Image, vector: Vector) -> Network:
    """`network` in integers for the instructions of `vector`, calibrated on the fitted pictures
    `made`. Ranges that the ONNX file gives (Layer.span) are taken as they are."""
    whole = padded(network)
    exact: list[Floats] = []
    run: list[NDArray[Any]] = []
    picture = _normalised(network, made)
    for index, layer in enumerate(whole.layers):
        source = picture if layer.source < 0 else exact[layer.source]
        sums = convolve(layer, source)
        if layer.residual is not None:
            sums += exact[layer.residual]
        exact.append(activate(sums, layer.limit))
        scale, zero = _range(layer, exact[-1])
        before = None if layer.source < 0 else whole.layers[layer.source].quantised
        other = None if layer.residual is None else whole.layers[layer.residual].quantised
        empty = Quantised(scale, zero, before.zero if before else 0, _stays_real(whole, index))
        rest = (before, other, network, vector)
        left = (made ^ 128).view(np.int8)[..., ::-1] if before is None else run[layer.source]
        layer.quantised = _integers(layer, empty, *rest, left)
        if not layer.quantised.weight.size:
            run.append(exact[-1] if empty.real else to_bytes(exact[-1] / scale + zero))
            continue
        right = None if layer.residual is None else run[layer.residual]
        # with room at both ends, what the activation will cut off
        found = products(layer, left)
        drift = sums.mean(axis=(0, 1, 2), dtype=np.float64) - means(layer, found, right)
        _correct(layer, drift)
        if layer.quantised.weight.dtype == np.float32:
            found = products(layer, left)  # they have the bias in them, which is another one now
        run.append(finish(layer, found, right))
    return whole


def _stays_real(network: Network, index: int) -> bool:
    """The first layer's output, where only a depthwise convolution reads it: differences of it
    are what the next layers see, and a byte is too coarse for them."""
    readers = [layer.kind for layer in network.layers if layer.source == index]
    added = any(layer.residual == index for layer in network.layers)
    return network.layers[index].source < 0 and set(readers) == {"depthwise"} and not added


def padded(network: Network) -> Network:
    """A copy in which every tensor has a multiple of CHANNELS channels."""

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


def _normalised(network: Network, made: Image) -> Floats:
    size = network.model.input.size
    tensor = np.empty((len(made), 3, size, size), np.float32)
    for picture, room in zip(made, tensor, strict=True):
        normalize(picture, network.model.input, room)
    return np.ascontiguousarray(tensor.transpose(0, 2, 3, 1) + network.tint.astype(np.float32))


def _range(layer: Layer, values: Floats) -> tuple[Floats, int]:
    """Scale of each channel, and the zero, of a layer's output."""
    if layer.span is not None:
        low, high = layer.span
        low = 0.0 if layer.limit is not None else low
        high = min(high, layer.limit) if layer.limit is not None else high
        scale = (high - low) / 255
        return np.full(layer.outputs, scale, np.float32), round(-low / scale) - 128
    largest = np.abs(values).max(axis=(0, 1, 2)) * MARGIN
    largest = np.maximum(largest, max(float(largest.max()), 1e-3) * DEAD)
    if layer.limit is None:
        return (largest / 127).astype(np.float32), 0
    return (np.minimum(largest, layer.limit) / 255).astype(np.float32), -128


def _integers(
    layer: Layer,
    empty: Quantised,
    before: Quantised | None,
    other: Quantised | None,
    network: Network,
    vector: Vector,
    inputs: NDArray[Any],
) -> Quantised:
    made = replace(empty)
    if before is None:
        spec = network.model.input
        # less than a step, for the border's zeros are then 128 to less than a step
        if (
            vector.way != SMULL
            and (np.abs(128 + (spec.offset + network.tint) / spec.scale) < 1).all()
        ):
            _stem(layer, made, spec)
    elif layer.kind == "depthwise" and before.real:
        made.weight = (layer.weight[:, 0] / made.scale[:, None, None]).astype(np.float32)
        made.bias = (layer.bias / made.scale + made.zero).astype(np.float32)
    elif layer.kind == "depthwise":
        _depthwise(layer, before, made, inputs)
    else:
        _pointwise(layer, before, other, made, vector, inputs)
    return made


def _stem(layer: Layer, made: Quantised, spec: InputSpec) -> None:
    """Of a pixel less 128, which stands for scale * pixel + offset."""
    weight = layer.weight.astype(np.float64) * spec.scale
    least = np.maximum(FINEST * made.scale, np.abs(layer.bias) / 2**24)
    flat, step = in_bytes(weight.reshape(len(weight), -1), lambda w: np.zeros(len(w)), least, None)
    made.weight = flat.reshape(weight.shape)
    sums = made.weight.sum(axis=(1, 2, 3), dtype=np.float64)
    more = (128 + spec.offset / spec.scale) * sums  # what a pixel of 128 stands for
    if made.real:
        made.factor = step.astype(np.float32)
        made.bias = np.rint(layer.bias / step + more).astype(np.int32)
    else:
        _factor(made, step, layer.bias / made.scale + made.zero, more)


def _factor(
    made: Quantised, step: NDArray[np.float64], ends: NDArray[np.float64], more: NDArray[Any]
) -> None:
    """Factor and bias of sums that count `step` each: the bytes `ends`, and `more` sums."""
    share = np.minimum(step / made.scale, 0.99 / 2**FRACTION)
    made.factor = np.rint(share * 2.0 ** (31 + FRACTION)).astype(np.int32)
    made.bias = np.rint(np.clip(ends, -4096, 4096) / share + more).astype(np.int32)


def _depthwise(layer: Layer, before: Quantised, made: Quantised, inputs: NDArray[Any]) -> None:
    weight = layer.weight[:, 0].astype(np.float64) * before.scale[:, None, None]
    window = layer.window
    places = np.arange(window**2).reshape(window, window)
    halves = [[places[tap] for tap in taps] for taps in every_other_tap(window)]
    flat, step = in_bytes(
        weight.reshape(len(weight), -1),
        lambda w: np.max([w[:, half].sum(axis=1) for half in halves], axis=0),
        FINEST * made.scale.astype(np.float64),
        _moments(layer, inputs, before.zero),
    )
    made.weight = flat.reshape(weight.shape)
    factor = step / made.scale
    sums = made.weight.sum(axis=(1, 2), dtype=np.float64)
    offset = layer.bias / made.scale - before.zero * sums * factor + made.zero
    # Both stay within 16 bits, and so does their sum, but for channels of very large weights,
    # which stop at the ends.
    reach = 128 * np.abs(made.weight).sum(axis=(1, 2), dtype=np.float64) * factor
    room = np.minimum(np.log2(32767 / (reach + np.abs(offset))), np.log2(0.99 / (2 * factor)))
    made.shift = np.clip(np.floor(room), 0, MOST_SHIFT).astype(np.int16)
    share = 2.0 ** (15 + made.shift)
    made.factor = np.clip(np.rint(2 * factor * share), 0, 32767).astype(np.int16)
    # with the factor as it was rounded, and half of what the shift will drop
    offset += before.zero * sums * (factor - made.factor / (2 * share)) + 0.5 * (made.shift > 0)
    made.offset = np.clip(np.rint(offset * 2.0**made.shift), -32768, 32767).astype(np.int16)


def _pointwise(
    layer: Layer,
    before: Quantised,
    other: Quantised | None,
    made: Quantised,
    vector: Vector,
    inputs: NDArray[Any],
) -> None:
    weight = layer.weight[:, :, 0, 0].astype(np.float64) * before.scale
    registers = 2 * chain_of(weight.shape[1], vector)

    def piled(w: NDArray[np.float64]) -> NDArray[np.float64]:
        if vector.way != SMULL:
            return np.zeros(len(w))
        return w.reshape(len(w), -1, registers, 8).sum(axis=2).max(axis=(1, 2))

    least = FINEST * made.scale.astype(np.float64)
    made.weight, step = in_bytes(weight, piled, least, _moments(layer, inputs, before.zero))
    more = -before.zero * made.weight.sum(axis=1, dtype=np.int64)
    if other is not None:
        made.residual = np.rint(other.scale / step).astype(np.int32)
        more -= made.residual * other.zero
    _factor(made, step, layer.bias / made.scale + made.zero, more)


def _moments(layer: Layer, inputs: NDArray[Any], zero: int) -> NDArray[np.float64]:
    """Means of products of what the weights of `layer` multiply."""
    if layer.kind == "pointwise":
        rows = inputs.reshape(-1, inputs.shape[-1])
        rows = rows[:: max(1, len(rows) // SAMPLES)].astype(np.float32) - np.float32(zero)
        return (rows.T @ rows).astype(np.float64) / len(rows)
    taps = np.stack([part.reshape(-1, part.shape[-1]) for part in windows(layer, inputs, zero)])
    taps = taps[:, :: max(1, taps.shape[1] // SAMPLES)].astype(np.float32) - np.float32(zero)
    by_channel = np.ascontiguousarray(taps.transpose(2, 0, 1))
    moments = by_channel @ by_channel.transpose(0, 2, 1)
    return moments.astype(np.float64) / taps.shape[1]


def _correct(layer: Layer, drift: NDArray[np.float64]) -> None:
    """Add `drift` to the mean of each output."""
    made = layer.quantised
    assert made is not None
    if made.real:
        made.bias += np.rint(drift / made.factor).astype(np.int32)
    elif made.weight.dtype == np.float32:
        made.bias += (drift / made.scale).astype(np.float32)
    elif layer.kind == "depthwise":
        offset = made.offset + np.rint(drift / made.scale * 2.0**made.shift)
        made.offset = np.clip(offset, -32768, 32767).astype(np.int16)
    else:
        share = made.factor / 2.0 ** (31 + FRACTION)
        made.bias += np.rint(drift / made.scale / share).astype(np.int32)
