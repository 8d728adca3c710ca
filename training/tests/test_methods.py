from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.code import pack
from training.eval.metrics import average_precision, distances, rank
from training.hash_layer.fit import HeadRecipe, fit_head
from training.methods import CLOSED_FORM, SUPERVISED
from training.methods.base import spread_targets


def clusters(seed: int) -> tuple[np.ndarray, np.ndarray]:
    centers = np.random.default_rng(0).normal(0, 1, (8, 40))
    labels = np.repeat(np.arange(8), 20)
    noise = np.random.default_rng(seed).normal(0, 0.6, (160, 40))
    return (centers[labels] + noise).astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("method", [*SUPERVISED, *CLOSED_FORM])
def test_every_method_finds_clusters(method: str) -> None:
    features, labels = clusters(1)
    queries, wanted = clusters(2)
    recipe = HeadRecipe(method=method, bits=16, epochs=30, batch=32, dropout=0.0)
    weight, bias = fit_head([features], labels, 8, recipe)
    assert weight.shape == (16, 40) and bias.shape == (16,)
    codes = [pack(each @ weight.T + bias > 0) for each in (features, queries)]
    order = rank(distances(codes[1], codes[0]))
    relevant = labels[order] == wanted[:, None]
    assert average_precision(relevant, 20).mean() > (0.5 if method in CLOSED_FORM else 0.8)


def test_fit_is_deterministic() -> None:
    features, labels = clusters(1)
    recipe = HeadRecipe(bits=16, epochs=3)
    one, other = (fit_head([features], labels, 8, recipe) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])


def test_class_targets_lie_apart() -> None:
    targets = spread_targets(205, 64).numpy()
    products = targets @ targets.T - 65 * np.eye(205)
    assert set(np.unique(targets)) == {-1.0, 1.0}
    assert (64 - products.max()) / 2 >= 18  # bits between the nearest two
