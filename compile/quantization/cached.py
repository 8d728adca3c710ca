"""Store quantized networks in the disk cache (compile/cache.py)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from compile import cache
from compile.frontend.ir import Network, QuantizedLayer
from compile.quantization.calibrate import pad_channels


def network_parts(network: Network) -> Iterator[object]:
    """Yield everything that the results of `network` depend on, for a digest."""
    for layer in network.layers:
        yield from (layer.weight, layer.bias, layer.pads, layer.stride, layer.limit)
        yield from (layer.output_range, layer.kind, layer.source, layer.residual)
        if layer.quantized:
            yield from (getattr(layer.quantized, field.name) for field in fields(QuantizedLayer))
    yield from (
        network.hash_weight,
        network.hash_bias,
        network.color_offset,
        network.model.input,
        network.model.id,
    )


def cached_network(key: str, network: Network, compute: Callable[[], Network]) -> Network:
    """Return the quantized form of `network` stored under `key`, or compute and store it."""
    path = cache.FOLDER / f"{key}.npz"
    try:
        with np.load(path) as file:
            return _read(pad_channels(network), dict(file))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        quantized = compute()
    content = io.BytesIO()
    arrays: dict[str, Any] = _arrays(quantized)
    np.savez(content, **arrays)
    cache.write_bytes(path, content.getvalue())
    return quantized


def _arrays(network: Network) -> dict[str, Any]:
    return {
        f"{index}.{field.name}": np.asarray(getattr(layer.quantized, field.name))
        for index, layer in enumerate(network.layers)
        for field in fields(QuantizedLayer)
    }


def _read(network: Network, arrays: dict[str, Any]) -> Network:
    for index, layer in enumerate(network.layers):
        values = {field.name: arrays[f"{index}.{field.name}"] for field in fields(QuantizedLayer)}
        plain: dict[str, Any] = {
            name: value if value.ndim else value.item() for name, value in values.items()
        }
        layer.quantized = QuantizedLayer(**plain)
    return network
