from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_runtime.code import pack
from training.eval.metrics import (
    average_precision,
    distances,
    open_set,
    open_set_episodes,
    precision_at,
    precision_recall,
    rank,
    tie_aware_ap,
)


def test_average_precision_by_hand() -> None:
    relevant = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], bool)
    np.testing.assert_allclose(average_precision(relevant), [(1 + 2 / 3) / 2, 1 / 4, 0])
    # the divisor counts the relevant found in the top only, as in the paper
    np.testing.assert_allclose(average_precision(relevant, 2), [1, 0, 0])
    assert precision_at(relevant, 2) == 1 / 6


@pytest.mark.parametrize("bits", [256, 512, 4096])
def test_distances_of_long_codes_do_not_wrap(bits: int) -> None:
    codes = pack(np.array([np.zeros(bits), np.arange(bits) < 3, np.ones(bits)]))
    distance = distances(codes[:1], codes)
    assert distance.tolist() == [[0, 3, bits]]
    assert rank(distance).tolist() == [[0, 1, 2]]


def test_ranking_is_stable() -> None:
    codes = np.array([[0b11], [0b00], [0b01], [0b00]], np.uint64)
    assert rank(distances(codes[1:2], codes)).tolist() == [[1, 3, 2, 0]]


def test_tie_aware_is_the_mean_over_all_orders() -> None:
    distance = np.array([[0, 1, 1, 1, 2, 2]], np.uint16)
    same = np.array([[1, 1, 0, 1, 0, 1]], bool)
    values = []
    for middle in itertools.permutations([1, 2, 3]):
        for last in itertools.permutations([4, 5]):
            values.append(average_precision(same[:, [0, *middle, *last]])[0])
    np.testing.assert_allclose(tie_aware_ap(distance, same, 6), np.mean(values))


def test_tie_aware_without_ties_is_plain_ap() -> None:
    rng = np.random.default_rng(0)
    distance = rng.permuted(np.tile(np.arange(60, dtype=np.uint16), (5, 1)), axis=1)
    same = rng.random((5, 60)) < 0.3
    ranked = np.take_along_axis(same, rank(distance), axis=1)
    np.testing.assert_allclose(tie_aware_ap(distance, same, 20), average_precision(ranked, 20))


def test_precision_recall_of_a_perfect_ranking() -> None:
    recall, precision = precision_recall(np.array([[1, 1, 0, 0]], bool), points=5)
    assert recall.tolist() == [0, 0.25, 0.5, 0.75, 1] and precision.tolist() == [1] * 5


def test_open_set_finds_the_gap() -> None:
    measured = open_set(np.array([1, 2, 3]), np.array([9, 10]), bits=16)
    assert measured.auroc == 1 and 3 <= measured.radius < 9
    assert measured.accepted_known[measured.radius] == 1
    assert measured.accepted_unknown[measured.radius] == 0


def test_open_set_episodes_of_far_labels() -> None:
    codes = np.array([[0], [1], [2**32 - 1], [2**32 - 2]], np.uint64)
    labels = np.array([0, 0, 1, 1])
    measured = open_set_episodes((codes, labels), (codes, labels), np.array([0, 1]), 64, enrolled=1)
    assert measured.auroc == 1 and measured.radius < 31
