"""Compute layers in numpy: in float32, and in integers bit-exactly as the kernels do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Layer, QuantizedLayer
from compile.kernels.instructions import FRACTION

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]


def convolve(layer: Layer, source: NDArray[np.generic], weight: Floats | None = None) -> Floats:
    """Return the sums of `layer` over [N, H, W, C] `source`, bias included; the border is zero."""
    weight = layer.weight if weight is None else weight
    if layer.kind == "pointwise":
        return _product(source.astype(np.float32), weight[:, :, 0, 0].T) + layer.bias
    side, window = layer.out_size, layer.window
    sums = np.zeros((len(source), side, side, layer.outputs), np.float32) + layer.bias
    if layer.kind == "depthwise":  # one picture at a time fits the cache
        for each, room in zip(source[:, np.newaxis], sums, strict=True):
            for number, part in enumerate(windows(layer, each, 0)):
                room += part[0].astype(np.float32) * weight[:, 0, number // window, number % window]
        return sums
    for number, part in enumerate(windows(layer, source, 0)):
        tap = weight[:, :, number // window, number % window]
        sums += _product(part.astype(np.float32), tap.T)
    return sums


def activate(sums: Floats, limit: float | None) -> Floats:
    """Apply a ReLU up to `limit` (None: no activation)."""
    return sums if limit is None else np.clip(sums, 0, limit)


def products(layer: Layer, source: NDArray[Any]) -> NDArray[Any]:
    """Return the integer sums of `layer` over [N, H, W, C] `source`, without bias.

    If the weights are float32, the result is float32 and includes the bias.
    """
    integers = _integers(layer)
    if integers.weight.dtype == np.float32:
        real = replace(layer, weight=integers.weight[:, np.newaxis], bias=integers.bias)
        return convolve(real, source)
    if layer.kind == "stem":
        plain = replace(layer, bias=np.zeros(layer.outputs, np.float32))
        return convolve(plain, source, integers.weight.astype(np.float32)).astype(np.int32)
    return (_depthwise if layer.kind == "depthwise" else _pointwise)(layer, source)


def means(layer: Layer, sums: NDArray[Any], residual: Bytes | None) -> NDArray[np.float64]:
    """Return the mean real value of each output channel, before rounding and clipping.

    `sums` are the layer's `products`.
    """
    integers = _integers(layer)
    value = _mean(sums)
    if integers.float_output:
        return np.asarray((value + integers.bias) * integers.factor)
    if layer.kind == "depthwise" and integers.weight.dtype != np.float32:
        whole = value / 2 * (integers.factor / 2.0**15)
        value = (whole + integers.offset) / 2.0**integers.shift - 0.5 * (integers.shift > 0)
    elif integers.weight.dtype != np.float32:
        value += (
            integers.bias
            if residual is None
            else integers.bias + _mean(residual) * integers.residual
        )
        value *= integers.factor / 2.0 ** (31 + FRACTION)
    return np.asarray((value - integers.zero) * integers.scale)


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=tuple(range(values.ndim - 1)), dtype=np.float64))


def run_layer(layer: Layer, source: NDArray[Any], residual: Bytes | None = None) -> NDArray[Any]:
    """Return what the kernels compute, [N, H, W, C]: bytes or float32.

    The bytes are exact, unless the input is float32, where the order of the sums matters.
    """
    return finish(layer, products(layer, source), residual)


def finish(layer: Layer, sums: NDArray[Any], residual: Bytes | None = None) -> NDArray[Any]:
    """Turn the `products` of `layer` into its output, one picture at a time to fit the cache."""
    integers = _integers(layer)
    if integers.float_output:
        return activate((sums + integers.bias).astype(np.float32) * integers.factor, layer.limit)
    if integers.weight.dtype == np.float32:
        return to_bytes(sums)
    done = np.empty(sums.shape, np.int8)
    for index, each in enumerate(sums):
        if layer.kind == "depthwise":
            share = (each + 1) >> 1
            share *= integers.factor
            share += 2**14
            share >>= 15
            share += integers.offset
            np.clip(share, -32768, 32767, out=share)
            share >>= integers.shift
        else:
            share = np.add(each, integers.bias, dtype=np.int64)
            if residual is not None:
                share += residual[index] * integers.residual
            share *= integers.factor
            share += 2**30
            share >>= 31
            share += 2 ** (FRACTION - 1)
            share >>= FRACTION
        done[index] = np.clip(share, -128, 127, out=share)
    return done


def to_bytes(values: NDArray[Any]) -> Bytes:
    """Round to the nearest bytes."""
    return np.asarray(np.clip(np.rint(values), -128, 127).astype(np.int8))


def _integers(layer: Layer) -> QuantizedLayer:
    assert layer.quantized is not None, layer.name
    return layer.quantized


def _pointwise(layer: Layer, source: Bytes) -> NDArray[np.int32]:
    integers = _integers(layer)
    # exact: 128 * 127 * 1024 < 2**24
    kind = np.float32 if source.shape[-1] <= 1024 else np.float64
    return _product(source.astype(kind), integers.weight.T.astype(kind)).astype(np.int32)


def _product(source: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Multiply [..., K] by [K, N] as one product; numpy would do one product per row."""
    return np.asarray(
        (source.reshape(-1, source.shape[-1]) @ weight).reshape(*source.shape[:-1], -1)
    )


def _depthwise(layer: Layer, source: Bytes) -> NDArray[np.int32]:
    integers = _integers(layer)
    weight = integers.weight.astype(np.int32)
    sums = np.zeros((len(source), layer.out_size, layer.out_size, layer.outputs), np.int32)
    for each, room in zip(source[:, np.newaxis], sums, strict=True):
        for number, part in enumerate(windows(layer, each, integers.input_zero)):
            room += part[0] * weight[:, number // layer.window, number % layer.window]
    return sums


def windows(layer: Layer, source: NDArray[Any], border: int) -> Iterator[NDArray[Any]]:
    """Yield the part of `source` under each tap of the window, row by row: [N, H, W, C] each."""
    (top, left, bottom, right), side, stride = layer.pads, layer.out_size, layer.stride
    rows = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(source, rows, constant_values=border)
    for y in range(layer.window):
        for x in range(layer.window):
            part = padded[:, y : y + stride * (side - 1) + 1 : stride]
            yield part[:, :, x : x + stride * (side - 1) + 1 : stride]
