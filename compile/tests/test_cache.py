"""What is kept from one compile to the next."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from compile import cache
from compile.frontend.ir import Network, Quantised
from compile.frontend.onnx_importer import read_network
from compile.quantization.cached import integers, parts_of
from compile.quantization.calibrate import quantise
from compile.target.vector_unit import SDOT, Vector
from compile.verify.images import pictures


def test_a_network_of_integers_comes_back_as_it_was(small_model: Path, keep: Path) -> None:
    network, calls = read_network(small_model), []

    def compute() -> Network:
        calls.append(1)
        return quantise(network, pictures(None, 96, 4), Vector(4, by_lane=True, way=SDOT))

    key = cache.digest("test", *parts_of(network))
    made = [integers(key, network, compute) for _ in range(2)]
    (keep / f"{key}.npz").write_bytes(b"PK cut off")
    made.append(integers(key, network, compute))
    assert len(calls) == 2, "once, and once more after the file was spoiled"
    for layer, *others in zip(*(network.layers for network in made), strict=True):
        for other in others:
            assert (layer.weight == other.weight).all() and layer.pads == other.pads
            for field in fields(Quantised):
                one, two = (getattr(x.quantised, field.name) for x in (layer, other))
                assert type(one) is type(two) and np.array_equal(one, two), field.name
                assert np.asarray(one).dtype == np.asarray(two).dtype, field.name


def test_whatever_changes_is_computed_anew(small_model: Path) -> None:
    network = read_network(small_model)
    keys = [cache.digest(*parts_of(network))]
    network.layers[3].weight.flat[0] += 1
    keys.append(cache.digest(*parts_of(network)))
    network.layers[4].limit = 5.0
    keys += [cache.digest(*parts_of(network)), cache.digest("fp16", *parts_of(network))]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("spoiled", [None, b"{", b"\xff"])
def test_facts(spoiled: bytes | None, keep: Path) -> None:
    key = cache.digest("facts", spoiled)
    assert cache.facts(key, lambda: {"n": 1}) == {"n": 1}
    if spoiled is None:
        assert cache.facts(key, lambda: {"n": 2}) == {"n": 1}
    else:
        (keep / f"{key}.json").write_bytes(spoiled)
        assert cache.facts(key, lambda: {"n": 2}) == {"n": 2}
