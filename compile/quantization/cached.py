"""Quantized networks, stored in the cache of `compile.cache`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from compile import cache
from compile.frontend.ir import Network, Quantised
from compile.quantization.calibrate import padded

Arrays = dict[str, np.ndarray[Any, Any]]


def parts_of(network: Network) -> Iterator[object]:
    """All that a network computes with, for its digest."""
    for layer in network.layers:
        yield from (layer.weight, layer.bias, layer.pads, layer.stride, layer.limit, layer.span)
        yield from (layer.kind, layer.source, layer.residual)
        if layer.quantised:
            yield from (getattr(layer.quantised, field.name) for field in fields(Quantised))
    yield from (
        network.hash_weight,
        network.hash_bias,
        network.tint,
        network.model.input,
        network.model.id,
    )


def integers(key: str, network: Network, compute: Callable[[], Network]) -> Network:
    """What `compute` makes of `network`: the same in integers."""
    path = cache.FOLDER / f"{key}.npz"
    try:
        with np.load(path) as file:
            return _read(padded(network), dict(file))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        made = compute()
    content = io.BytesIO()
    np.savez(content, **_arrays(made))
    cache.write_bytes(path, content.getvalue())
    return made


def _arrays(network: Network) -> Arrays:
    return {
        f"{index}.{field.name}": np.asarray(getattr(layer.quantised, field.name))
        for index, layer in enumerate(network.layers)
        for field in fields(Quantised)
    }


def _read(network: Network, arrays: Arrays) -> Network:
    for index, layer in enumerate(network.layers):
        values = {field.name: arrays[f"{index}.{field.name}"] for field in fields(Quantised)}
        plain = {name: value if value.ndim else value.item() for name, value in values.items()}
        layer.quantised = Quantised(**plain)
    return network
