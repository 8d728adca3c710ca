"""Several photos of one stranger: the components of the variance of their mean similarity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.fitting.calibration import Calibration
from edge_runtime.fitting.several import IDENTICAL, PRIOR_LABELS, UNRELATED, Several, several

CALIBRATION = Calibration(
    0.5, 0.05, 20, 0.8, 0.1, several_drop=0.04, several_between=0.6, skewness=0.3
)


def _pairs(
    things: int, between: float, within: float, labels: int = 1, seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best similarity of both photos of each thing, and that of their mean.

    Each photo has a similarity to each of `labels` labels; what is common to both photos has the
    standard deviation `between`, the rest `within`.
    """
    rng = np.random.default_rng(seed)
    common = rng.normal(0.5, between, (things, 1, 1))
    similar = common + rng.normal(0, within, (things, 2, labels))
    return similar.max(axis=2), similar.mean(axis=1).max(axis=1)


def _weighed(share: float, labels: int) -> float:
    return 1 - (1 - share) * labels / (labels + PRIOR_LABELS)


@pytest.mark.parametrize(("between", "within"), [(0.08, 0.04), (0.05, 0.05), (0.02, 0.06)])
def test_the_share_between_things_is_found(between: float, within: float) -> None:
    single, both = _pairs(5000, between, within)
    found = several(single, both, np.full(5000, UNRELATED), 5000)
    share = between**2 / (between**2 + within**2)
    assert found.between == pytest.approx(_weighed(share, 5000), abs=0.05)
    assert found.drop == pytest.approx(0, abs=0.002)


def test_the_best_label_of_several_photos_is_less_similar_than_that_of_one() -> None:
    single, both = _pairs(3000, 0.05, 0.05, labels=30)
    found = several(single, both, np.full(3000, 0.5), 3000)
    lost = single.mean() - both.mean()
    assert found.drop == pytest.approx(2 * lost * 3000 / 3010, rel=0.01)
    assert lost > 0.02


def test_pictures_that_are_the_same_tell_nothing() -> None:
    single, both = _pairs(500, 0.05, 0.05)
    assert several(single, both, np.full(500, IDENTICAL), 500) == Several()
    assert several(single[:1], both[:1], np.zeros(1), 1) == Several()
    assert several(np.zeros((0, 2)), np.zeros(0), np.zeros(0), 0) == Several()


def test_few_labels_are_hardly_believed() -> None:
    single, both = _pairs(2000, 0.0, 0.05)
    few, many = (several(single, both, np.zeros(2000), labels).between for labels in (3, 2000))
    assert few > 0.7 > 0.1 > many


@given(st.floats(1, 100))
def test_a_mean_is_lower_and_less_spread(photos: float) -> None:
    mean = CALIBRATION.of_mean(photos)
    assert mean.stranger_mean <= CALIBRATION.stranger_mean
    assert 0.6**0.5 * 0.05 <= mean.stranger_spread <= 0.05 + 1e-12
    assert mean.threshold() <= CALIBRATION.threshold() + 1e-12
    assert mean.stranger_mean >= 0.5 - 0.04


def test_one_photo_and_what_is_not_measured_change_nothing() -> None:
    assert CALIBRATION.of_mean(1) is CALIBRATION
    plain = Calibration(0.5, 0.05, 20, 0.8, 0.1)
    assert plain.of_mean(9) == plain
