"""The threshold for strangers, and the probability that a thing is known."""

from __future__ import annotations

import math
from dataclasses import astuple, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.fitting import calibration
from edge_runtime.fitting.calibration import (
    FITTED_SCALE,
    PLAIN_SCALE,
    SAME,
    TRUST,
    Calibration,
    calibrate,
    tried,
)

NONE = np.empty(0, np.float32)
SIMILARITIES = st.lists(st.floats(-1, 1, width=32), max_size=30).map(
    lambda values: np.array(values, np.float32)
)


def _strangers(count: int = 40) -> np.ndarray:
    return np.linspace(0.45, 0.55, count).astype(np.float32)


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(5, 2.757), (10, 2.359), (20, 2.197), (60, 2.099)]
)
def test_the_quantile_of_student(freedom: int, quantile: float) -> None:
    assert calibration._student_quantile(0.98, freedom) == pytest.approx(quantile, abs=0.01)


def test_the_threshold_is_higher_with_fewer_labels() -> None:
    thresholds = [calibrate(_strangers(), NONE, labels).threshold() for labels in (3, 5, 20, 100)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


def test_the_threshold_is_higher_with_a_lower_rate() -> None:
    measured = calibrate(_strangers(), NONE, 10)
    thresholds = [measured.threshold(rate) for rate in (0.0001, 0.01, 0.02, 0.1, 0.5)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[-1] == pytest.approx(measured.stranger_mean)


def test_the_skewness_of_many_labels_counts() -> None:
    """Things that are all alike come close to a highest similarity, which a normal model exceeds;
    where a few labels resemble each other, it is too low."""
    tail = np.random.default_rng(1).exponential(0.1, 300)
    for similarities, lower in ((0.85 - tail, True), (0.2 + tail, False)):
        values = similarities.astype(np.float32)
        symmetric = replace(calibrate(values, NONE, 60), skewness=0.0).threshold()
        few, some, many = (calibrate(values, NONE, n).threshold() for n in (20, 40, 60))
        assert few > some > many if lower else some < many
        assert (many < symmetric) == lower
        wanted = float(np.quantile(values, 0.98))
        assert abs(many - wanted) < abs(symmetric - wanted)


def test_one_label_has_no_strangers() -> None:
    measured = calibrate(NONE, np.array([0.9, 0.8], np.float32), 1)
    assert measured.stranger_mean == PLAIN_SCALE.stranger_mean
    assert PLAIN_SCALE.stranger_mean < measured.threshold() < SAME


def test_two_labels_that_differ_much_do_not_lower_the_threshold() -> None:
    far = np.full(2, 0.1, np.float32)
    assert calibrate(far, NONE, 2).stranger_mean == PLAIN_SCALE.stranger_mean
    assert calibrate(far, NONE, 3).stranger_mean == pytest.approx(0.1)


def test_a_copy_under_two_labels_says_nothing() -> None:
    copies = np.array([1, SAME + 0.0005], np.float32)
    with_copies = np.concatenate([_strangers(), copies])
    assert calibrate(with_copies, copies, 10) == calibrate(_strangers(), NONE, 10)
    assert calibrate(copies, copies, 2) == calibrate(NONE, NONE, 2)


def test_similar_photos_of_a_label_raise_the_known_mean() -> None:
    low, high = (
        calibrate(_strangers(), np.full(20, value, np.float32), 10).known_mean
        for value in (0.6, 0.9)
    )
    assert 0.6 < low < high < 0.9


@given(SIMILARITIES, SIMILARITIES, st.integers(1, 500), st.floats(0.0001, 0.5))
def test_every_calibration_is_usable(
    strangers: np.ndarray, known: np.ndarray, labels: int, rate: float
) -> None:
    measured = calibrate(strangers, known, labels)
    assert all(map(math.isfinite, astuple(measured)[:-1]))
    assert measured.stranger_spread > 0
    assert measured.known_spread > 0
    assert measured.threshold(rate) <= SAME
    probabilities = [measured.known_probability(value) for value in np.linspace(-1, 1, 81)]
    assert all(0 <= one <= 1 for one in probabilities)
    assert all(a <= b + 1e-12 for a, b in pairwise(probabilities))


def _tried(*pairs: tuple[float, float]) -> Calibration:
    """A calibration after trials: how far own label and rival are above the limit."""
    measured = calibrate(_strangers(), NONE, 10)
    own, rival = np.array(pairs, np.float32).reshape(-1, 2).T + np.float32(measured.threshold())
    return tried(measured, own, rival)


RIGHT, WRONG, UNKNOWN = (0.1, 0.01), (0.01, 0.1), (-0.1, -0.2)


def test_the_trust_is_the_share_of_answers_that_are_right() -> None:
    assert _tried().trust == pytest.approx(TRUST)
    assert _tried(*[UNKNOWN] * 9).trust == pytest.approx(TRUST)
    assert _tried(*[RIGHT] * 9).trust > TRUST > _tried(WRONG).trust
    assert _tried(*[RIGHT] * 60, *[WRONG] * 40).trust == pytest.approx(0.6, abs=0.03)


def test_photos_without_another_of_their_label_tell_nothing() -> None:
    assert _tried((math.nan, 0.1)) == _tried()
    assert _tried((0.1, math.nan)).trust > TRUST  # the only label has no rival


@given(st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32))))
def test_every_trial_is_usable(pairs: list[tuple[float, float]]) -> None:
    measured = calibrate(_strangers(), NONE, 10)
    own, rival = np.array(pairs, np.float32).reshape(-1, 2).T
    found = tried(measured, own, rival)
    assert 0 < found.trust < 1
    assert replace(found, trust=measured.trust) == measured


def test_a_crowded_gallery_raises_the_limit() -> None:
    alone, crowded = (calibrate(_strangers(), NONE, 10, crowding=more) for more in (0.0, 0.02))
    assert crowded.threshold() == pytest.approx(alone.threshold() + 0.02)


def test_a_fitted_metric_has_a_scale_of_its_own() -> None:
    plain, fitted = (calibrate(NONE, NONE, 1, scale) for scale in (PLAIN_SCALE, FITTED_SCALE))
    assert fitted.stranger_mean < plain.stranger_mean
    assert fitted.temperature > plain.temperature


def test_the_probability_between_two_narrow_distributions_is_a_number() -> None:
    narrow = Calibration(0.1, 1e-4, 300, 0.9, 1e-4)
    low, middle, high = (narrow.known_probability(value) for value in (0.1, 0.5, 0.9))
    assert low == pytest.approx(0) and 0 <= middle <= 1 and high == pytest.approx(1)


def test_the_probability_is_that_of_bayes() -> None:
    many = Calibration(0.2, 0.1, 10**6, 0.4, 0.1)  # Student's t is normal
    assert many.known_probability(0.3) == pytest.approx(0.5, abs=1e-4)
    assert many.known_probability(0.4) == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-4)
    hardly = replace(many, known_mean=0.1, known_spread=0.05)  # known things are less similar
    assert hardly.known_probability(0.3) == pytest.approx(1 / (1 + math.exp(-0.5)), abs=1e-4)
    # The density of Student's t with 5 degrees of freedom: 0.2197 at 1, and 0.0651 at 2.
    few = replace(many, labels=6)
    assert few.known_probability(0.3) == pytest.approx(0.2420 / (0.2420 + 0.2197), abs=1e-3)
    assert few.known_probability(0.4) == pytest.approx(0.3989 / (0.3989 + 0.0651), abs=1e-3)


def test_few_labels_make_no_answer_certain() -> None:
    few, many = (Calibration(0.2, 0.1, labels, 0.9, 0.1) for labels in (5, 100))
    assert few.known_probability(0.9) < many.known_probability(0.9)
