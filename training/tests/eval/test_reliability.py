"""How often answers of a stated confidence are right."""

from __future__ import annotations

import math

import pytest

from training.eval.reliability import BINS, Answer, quality, reliability, tally, total


def test_known_queries_and_strangers_count_the_same() -> None:
    known = [Answer("cup", 3, 0.92), Answer("cup", 3, 0.94), Answer("pen", 2, 0.6),
             Answer(None, 0, 0.0)]  # fmt: skip
    strangers = [Answer("cup", 1, 0.91), *[Answer(None, 0, 0.0)] * 7]
    counted = tally(known, ["cup", "pen", "pen", "cup"], strangers)
    assert len(counted) == len(BINS) - 1
    medium, high = reliability(counted)
    assert (medium.least, medium.most, medium.answers, medium.right) == (0.5, 0.7, 1, 1)
    # Two of four known queries, and one of eight strangers: 4 to 1.
    assert (high.least, high.most, high.answers) == (0.9, 0.95, 3)
    assert high.right == pytest.approx(0.4)
    assert high.confidence == pytest.approx(0.8 * 0.93 + 0.2 * 0.91)


def test_galleries_are_added() -> None:
    one = tally([Answer("cup", 1, 1.0)], ["cup"], [Answer("cup", 1, 1.0)])
    two = tally([Answer("cup", 1, 1.0)], ["pen"], [Answer(None, 0, 0.0)])
    (whole,) = reliability(total([one, two]))
    assert (whole.answers, whole.confidence) == (3, 1)
    assert whole.right == pytest.approx(1 / 3)


def test_no_answers_have_no_reliability() -> None:
    assert reliability(tally([Answer(None, 0, 0.0)], ["cup"], [Answer(None, 0, 0.0)])) == []
    assert quality(tally([Answer(None, 0, 0.0)], ["cup"], [Answer(None, 0, 0.0)])) is None


def test_the_quality_of_all_answers() -> None:
    known = [Answer("cup", 3, 0.9), Answer("pen", 3, 0.6)]
    strangers = [Answer("cup", 1, 0.9), Answer(None, 0, 0.0)]
    found = quality(tally(known, ["cup", "cup"], strangers))
    assert found is not None
    assert found.confidence == pytest.approx(0.8) and found.right == pytest.approx(1 / 3)
    assert found.gap == pytest.approx((2 * 0.4 + 0.6) / 3)
    losses = -math.log(0.9) - math.log(0.4) - math.log(0.1)
    assert found.log_loss == pytest.approx(losses / 3)


def test_no_single_answer_decides_the_log_loss() -> None:
    found = quality(tally([Answer("pen", 3, 1.0)], ["cup"], [Answer(None, 0, 0.0)]))
    assert found is not None and found.log_loss == pytest.approx(-math.log(0.001))
