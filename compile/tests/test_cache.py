"""The disk cache that compiles share."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from compile import cache
from compile.frontend.ir import Network, QuantizedLayer
from compile.frontend.onnx_importer import read_network
from compile.quantization.cached import cached_network, network_parts
from compile.quantization.calibrate import quantize
from compile.target.vector_unit import SDOT, Vector
from compile.verify.images import load_views


def test_a_quantized_network_is_restored_exactly(small_model: Path, cache_folder: Path) -> None:
    network = read_network(small_model)
    calls: list[int] = []

    def compute() -> Network:
        calls.append(1)
        return quantize(
            network, load_views(None, 96, 4), Vector(4, by_lane=True, dot_product_kind=SDOT)
        )

    key = cache.digest("test", *network_parts(network))
    restored = [cached_network(key, network, compute) for _ in range(2)]
    (cache_folder / f"{key}.npz").write_bytes(b"PK cut off")
    restored.append(cached_network(key, network, compute))
    assert len(calls) == 2, "computed once, and again after the file was damaged"
    for layer, *others in zip(*(network.layers for network in restored), strict=True):
        for other in others:
            assert (layer.weight == other.weight).all() and layer.pads == other.pads
            for field in fields(QuantizedLayer):
                one, two = (getattr(x.quantized, field.name) for x in (layer, other))
                assert type(one) is type(two) and np.array_equal(one, two), field.name
                assert np.asarray(one).dtype == np.asarray(two).dtype, field.name


def test_every_change_has_another_digest(small_model: Path) -> None:
    network = read_network(small_model)
    keys = [cache.digest(*network_parts(network))]
    network.layers[3].weight.flat[0] += 1
    keys.append(cache.digest(*network_parts(network)))
    network.layers[4].limit = 5.0
    keys += [cache.digest(*network_parts(network)), cache.digest("fp16", *network_parts(network))]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("damage", [None, b"{", b"\xff"])
def test_cached_json(damage: bytes | None, cache_folder: Path) -> None:
    key = cache.digest("test", damage)
    assert cache.cached_json(key, lambda: {"n": 1}) == {"n": 1}
    if damage is None:
        assert cache.cached_json(key, lambda: {"n": 2}) == {"n": 1}
    else:
        (cache_folder / f"{key}.json").write_bytes(damage)
        assert cache.cached_json(key, lambda: {"n": 2}) == {"n": 2}
