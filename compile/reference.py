"""What a layer computes, in numpy: in float32, and in integers as the kernels do, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compile.kernels.instructions import FRACTION
from compile.kernels.words import every_other_tap
from compile.network import Layer, Quantised

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]


def convolve(layer: Layer, source: NDArray[np.generic], weight: Floats | None = None) -> Floats:
    """The sums of `layer` over [N, H, W, C] `source`, padded with zeros, and its bias."""
    weight = layer.weight if weight is None else weight
    if layer.kind == "pointwise":
        return _product(source.astype(np.float32), weight[:, :, 0, 0].T) + layer.bias
    side, window = layer.out_size, layer.window
    sums = np.zeros((len(source), side, side, layer.outputs), np.float32) + layer.bias
    for number, part in enumerate(windows(layer, source, 0)):
        tap, part = weight[:, :, number // window, number % window], part.astype(np.float32)
        sums += part * tap[:, 0] if layer.kind == "depthwise" else _product(part, tap.T)
    return sums


def activate(sums: Floats, limit: float | None) -> Floats:
    """ReLU up to `limit`; None: no activation."""
    return sums if limit is None else np.clip(sums, 0, limit)


def means(layer: Layer, source: NDArray[Any], residual: Bytes | None) -> NDArray[np.float64]:
    """Of each output, the mean of what its integers stand for before they are rounded and cut
    off."""
    made = _made(layer)

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(values.mean(axis=tuple(range(values.ndim - 1)), dtype=np.float64))

    if made.real:
        return mean(_sums(layer, source, None)) * made.factor
    if made.weight.dtype == np.float32:
        value = mean(_real_sums(layer, source))
    elif layer.kind == "depthwise":
        whole = mean(_depthwise_sums(layer, source).sum(axis=0)) / 2 * (made.factor / 2.0**15)
        value = (whole + made.offset) / 2.0**made.shift - 0.5 * (made.shift > 0)
    else:
        value = mean(_sums(layer, source, residual)) * (made.factor / 2.0 ** (31 + FRACTION))
    return (value - made.zero) * made.scale


def run_layer(layer: Layer, source: NDArray[Any], residual: Bytes | None = None) -> NDArray[Any]:
    """What the kernels give, [N, H, W, C]: bytes, to the bit (but where the input is in float32,
    for the order of its sums), or float32."""
    made = _made(layer)
    if made.real:
        sums = _sums(layer, source, None).astype(np.float32)
        return activate(sums * made.factor, layer.limit)
    if made.weight.dtype == np.float32:
        return to_bytes(_real_sums(layer, source))
    if layer.kind == "depthwise":
        both = (_depthwise_sums(layer, source).sum(axis=0) + 1) >> 1
        share = (both * made.factor.astype(np.int32) + 2**14) >> 15
        total = np.clip(share + made.offset, -32768, 32767) >> made.shift
    else:
        share = _sums(layer, source, residual).astype(np.int64) * made.factor.astype(np.int64)
        share = (share + 2**30) >> 31
        total = (share + 2 ** (FRACTION - 1)) >> FRACTION
    return to_bytes(total)


def to_bytes(values: NDArray[Any]) -> Bytes:
    """The nearest ones."""
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def _real_sums(layer: Layer, source: Floats) -> Floats:
    made = _made(layer)
    real = replace(layer, weight=made.weight[:, np.newaxis], bias=made.bias)
    return convolve(real, source)


def _made(layer: Layer) -> Quantised:
    assert layer.quantised is not None, layer.name
    return layer.quantised


def _sums(layer: Layer, source: Bytes, residual: Bytes | None) -> NDArray[np.int32]:
    if layer.kind == "stem":
        return _stem_sums(layer, source)
    sums = _pointwise_sums(layer, source)
    return sums if residual is None else sums + residual * _made(layer).residual


def _stem_sums(layer: Layer, source: Bytes) -> NDArray[np.int32]:
    made = _made(layer)
    plain = replace(layer, bias=np.zeros(layer.outputs, np.float32))
    return convolve(plain, source, made.weight.astype(np.float32)).astype(np.int32) + made.bias


def _pointwise_sums(layer: Layer, source: Bytes) -> NDArray[np.int32]:
    made = _made(layer)
    # exact: 128 * 127 * 1024 < 2**24
    kind = np.float32 if source.shape[-1] <= 1024 else np.float64
    return _product(source.astype(kind), made.weight.T.astype(kind)).astype(np.int32) + made.bias


def _product(source: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """[..., K] by [K, N], as one product: numpy makes a small one of each row otherwise."""
    return (source.reshape(-1, source.shape[-1]) @ weight).reshape(*source.shape[:-1], -1)


def _depthwise_sums(layer: Layer, source: Bytes) -> NDArray[np.int32]:
    """Of every other tap: [2, N, H, W, C]."""
    made = _made(layer)
    parts = list(windows(layer, source, made.border))
    sums = np.zeros((2, *parts[0].shape), np.int32)
    for colour, taps in enumerate(every_other_tap(layer.window)):
        for y, x in taps:
            part = parts[y * layer.window + x].astype(np.int32)
            sums[colour] += part * made.weight[:, y, x].astype(np.int32)
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
