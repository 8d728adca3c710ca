"""The fast MAP of whole rankings against brute force and the general tie-aware measure."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from training.eval.metrics import average_precision, tie_aware_ap
from training.papers.cifar10.ranking import Bits, expected_ap, mean_ap


def draw(seed: int, count: int, bits: int) -> tuple[Bits, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random((count, bits)) < 0.5, rng.integers(0, 4, count)


@pytest.mark.parametrize("bits", [1, 5, 12, 33])
def test_it_equals_the_general_tie_aware_measure(bits: int) -> None:
    queries, database = draw(1, 30, bits), draw(2, 200, bits)
    distance = (queries[0][:, None] != database[0]).sum(2).astype(np.uint16)
    same = queries[1][:, None] == database[1]
    expected = tie_aware_ap(distance, same, len(database[0])).mean()
    assert mean_ap(queries, database) == pytest.approx(expected, abs=1e-9)


def test_a_tie_counts_as_the_mean_over_all_orders() -> None:
    relevant = np.array([True, False, True, False, True])
    orders = np.array(list(permutations(relevant)))
    everything = (np.zeros((5, 3), bool), np.where(relevant, 1, 0))
    found = mean_ap((np.zeros((1, 3), bool), np.array([1])), everything)
    assert found == pytest.approx(average_precision(orders).mean())


@pytest.mark.parametrize("seed", range(3))
def test_weighted_distances_equal_brute_force(seed: int) -> None:
    queries, database = draw(seed, 20, 9), draw(seed + 10, 150, 9)
    weights = np.random.default_rng(seed).random(9).astype(np.float32)
    weights[0] = 0  # codes that differ in this bit only are equally near
    found = mean_ap(queries, database, weights)
    expected = []
    for code, label in zip(*queries, strict=True):
        distances = np.round(((code != database[0]) * weights.astype(float)).sum(1), 5)
        size, hits = [], []
        for level in np.unique(distances):
            group = distances == level
            size.append(float(group.sum()))
            hits.append(float((database[1][group] == label).sum()))
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, 151))])
        expected.append(expected_ap(np.array(size), np.array(hits), harmonic))
    assert found == pytest.approx(np.mean(expected), abs=1e-9)


def test_equal_weights_are_no_weights() -> None:
    queries, database = draw(5, 20, 12), draw(6, 300, 12)
    weighted = mean_ap(queries, database, np.full(12, 0.37, np.float32))
    assert weighted == pytest.approx(mean_ap(queries, database), abs=1e-9)


def test_a_query_without_relevant_images_counts_as_0() -> None:
    database = (np.zeros((4, 2), bool), np.zeros(4, np.int64))
    queries = (np.zeros((2, 2), bool), np.array([0, 3]))
    assert mean_ap(queries, database) == 0.5
