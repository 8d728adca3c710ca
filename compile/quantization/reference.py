"""What a layer computes, in numpy: in float32, and in integers as the kernels do, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.frontend.ir import Layer, Quantised
from compile.kernels.instructions import FRACTION

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]


def convolve(layer: Layer, source: NDArray[np.generic], weight: Floats | None = None) -> Floats:
    """The sums of `layer` over [N, H, W, C] `source`, padded with zeros, and its bias."""
    weight = layer.weight if weight is None else weight
    if layer.kind == "pointwise":
        return _product(source.astype(np.float32), weight[:, :, 0, 0].T) + layer.bias
    side, window = layer.out_size, layer.window
    sums = np.zeros((len(source), side, side, layer.outputs), np.float32) + layer.bias
    if layer.kind == "depthwise":  # picture by picture: one fits a cache
        for each, room in zip(source[:, np.newaxis], sums, strict=True):
            for number, part in enumerate(windows(layer, each, 0)):
                room += part[0].astype(np.float32) * weight[:, 0, number // window, number % window]
        return sums
    for number, part in enumerate(windows(layer, source, 0)):
        tap = weight[:, :, number // window, number % window]
        sums += _product(part.astype(np.float32), tap.T)
    return sums


def activate(sums: Floats, limit: float | None) -> Floats:
    """ReLU up to `limit`; None: no activation."""
    return sums if limit is None else np.clip(sums, 0, limit)


def products(layer: Layer, source: NDArray[Any]) -> NDArray[Any]:
    """What the integers of `layer` sum up to over [N, H, W, C] `source`, without bias; where its
    weights are float32, with it."""
    made = _made(layer)
    if made.weight.dtype == np.float32:
        real = replace(layer, weight=made.weight[:, np.newaxis], bias=made.bias)
        return convolve(real, source)
    if layer.kind == "stem":
        plain = replace(layer, bias=np.zeros(layer.outputs, np.float32))
        return convolve(plain, source, made.weight.astype(np.float32)).astype(np.int32)
    return (_depthwise if layer.kind == "depthwise" else _pointwise)(layer, source)


def means(layer: Layer, sums: NDArray[Any], residual: Bytes | None) -> NDArray[np.float64]:
    """Of each output, the mean of what its integers stand for before they are rounded and cut
    off; `sums` are its `products`."""
    made = _made(layer)
    value = _mean(sums)
    if made.real:
        return (value + made.bias) * made.factor
    if layer.kind == "depthwise" and made.weight.dtype != np.float32:
        whole = value / 2 * (made.factor / 2.0**15)
        value = (whole + made.offset) / 2.0**made.shift - 0.5 * (made.shift > 0)
    elif made.weight.dtype != np.float32:
        value += made.bias if residual is None else made.bias + _mean(residual) * made.residual
        value *= made.factor / 2.0 ** (31 + FRACTION)
    return (value - made.zero) * made.scale


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=tuple(range(values.ndim - 1)), dtype=np.float64))


def run_layer(layer: Layer, source: NDArray[Any], residual: Bytes | None = None) -> NDArray[Any]:
    """What the kernels give, [N, H, W, C]: bytes, to the bit (but where the input is in float32,
    for the order of its sums), or float32."""
    return finish(layer, products(layer, source), residual)


def finish(layer: Layer, sums: NDArray[Any], residual: Bytes | None = None) -> NDArray[Any]:
    """What `run_layer` makes of the `products` of `layer`, picture by picture: they fit a cache."""
    made = _made(layer)
    if made.real:
        return activate((sums + made.bias).astype(np.float32) * made.factor, layer.limit)
    if made.weight.dtype == np.float32:
        return to_bytes(sums)
    done = np.empty(sums.shape, np.int8)
    for index, each in enumerate(sums):
        if layer.kind == "depthwise":
            share = (each + 1) >> 1
            share *= made.factor
            share += 2**14
            share >>= 15
            share += made.offset
            np.clip(share, -32768, 32767, out=share)
            share >>= made.shift
        else:
            share = np.add(each, made.bias, dtype=np.int64)
            if residual is not None:
                share += residual[index] * made.residual
            share *= made.factor
            share += 2**30
            share >>= 31
            share += 2 ** (FRACTION - 1)
            share >>= FRACTION
        done[index] = np.clip(share, -128, 127, out=share)
    return done


def to_bytes(values: NDArray[Any]) -> Bytes:
    """The nearest ones."""
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def _made(layer: Layer) -> Quantised:
    assert layer.quantised is not None, layer.name
    return layer.quantised


def _pointwise(layer: Layer, source: Bytes) -> NDArray[np.int32]:
    made = _made(layer)
    # exact: 128 * 127 * 1024 < 2**24
    kind = np.float32 if source.shape[-1] <= 1024 else np.float64
    return _product(source.astype(kind), made.weight.T.astype(kind)).astype(np.int32)


def _product(source: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """[..., K] by [K, N], as one product: numpy makes a small one of each row otherwise."""
    return (source.reshape(-1, source.shape[-1]) @ weight).reshape(*source.shape[:-1], -1)


def _depthwise(layer: Layer, source: Bytes) -> NDArray[np.int32]:
    made = _made(layer)
    weight = made.weight.astype(np.int32)
    sums = np.zeros((len(source), layer.out_size, layer.out_size, layer.outputs), np.int32)
    for each, room in zip(source[:, np.newaxis], sums, strict=True):
        for number, part in enumerate(windows(layer, each, made.border)):
            room += part[0] * weight[:, number // layer.window, number % layer.window]
    return sums


def windows(layer: Layer, source: NDArray[Any], border: int) -> Iterator[NDArray[Any]]:
    """For each tap of the window, row by row, what it sees of `source`: [N, H, W, C] each."""
    (top, left, bottom, right), side, stride = layer.pads, layer.out_size, layer.stride
    rows = ((0, 0), (top, bottom), (left, right), (0, 0))
    padded = np.pad(source, rows, constant_values=border)
    for y in range(layer.window):
        for x in range(layer.window):
            part = padded[:, y : y + stride * (side - 1) + 1 : stride]
            yield part[:, :, x : x + stride * (side - 1) + 1 : stride]
