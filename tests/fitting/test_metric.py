"""The fitted metric against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.fitting.metric import DIRECTIONS, FittedMetric, Metric, MetricFitter
from edge_runtime.fitting.quantized import unit

FEATURES = 48


def _rows(seed: int, labels: int, pictures: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features [N, F] that differ within labels in few directions, and label ids [N]."""
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((labels, 1, FEATURES))
    nuisance = rng.standard_normal((labels, pictures, 3)) @ (3 * rng.standard_normal((3, FEATURES)))
    noise = 0.1 * rng.standard_normal((labels, pictures, FEATURES))
    rows = (means + nuisance + noise).reshape(-1, FEATURES).astype(np.float32)
    return rows, np.repeat(np.arange(10, 10 + labels), pictures).astype(np.int64)


def _mapped(metric: Metric, rows: np.ndarray) -> np.ndarray:
    """Map rows as the class describes it."""
    moved = rows.astype(np.float64) - metric.center
    along = moved @ metric.directions.T
    mapped: np.ndarray = moved - (along * metric.damping) @ metric.directions
    return mapped


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 6))
def test_cosines_are_those_of_mapped_features(seed: int, labels: int, pictures: int) -> None:
    rows, label_ids = _rows(seed, labels, pictures)
    fitted = MetricFitter(rows, label_ids).fit()
    for metric in (fitted.metric, *fitted.folds, Metric.plain(FEATURES)):
        query, units = unit(rows[0]), unit(rows)
        prepared = metric.query(query)
        lengths = metric.lengths(units)
        cosines = metric.cosines(prepared, units @ prepared.vector, lengths)
        one, all_rows = _mapped(metric, query[np.newaxis])[0], _mapped(metric, units)
        assert lengths == pytest.approx(np.linalg.norm(all_rows, axis=1), abs=1e-3)
        far = lengths > 1e-2  # a row at the center has no direction
        expected = all_rows @ one / np.maximum(np.linalg.norm(all_rows, axis=1), 1e-9)
        if np.linalg.norm(one) > 1e-2:
            assert cosines[far] == pytest.approx(expected[far] / np.linalg.norm(one), abs=2e-3)


def test_the_plain_metric_is_the_cosine() -> None:
    rows, _ = _rows(1, 4, 2)
    metric, units = Metric.plain(FEATURES), unit(rows)
    prepared = metric.query(units[0])
    cosines = metric.cosines(prepared, units @ prepared.vector, metric.lengths(units))
    assert cosines == pytest.approx(units @ units[0], abs=1e-6)


def test_nuisance_is_damped() -> None:
    rows, label_ids = _rows(1, 10, 6)
    metric, units = MetricFitter(rows, label_ids).fit().metric, unit(rows)

    def nearest_own(cosines: np.ndarray) -> float:
        np.fill_diagonal(cosines, -1)
        return float((label_ids[cosines.argmax(1)] == label_ids).mean())

    mapped = unit(_mapped(metric, units))
    assert nearest_own(mapped @ mapped.T) > nearest_own(units @ units.T) + 0.2


def test_a_fold_knows_nothing_of_its_labels() -> None:
    rows, label_ids = _rows(1, 10, 4)
    fitted = MetricFitter(rows, label_ids).fit()
    assert len(fitted.folds) == 8
    other = rows.copy()
    other[label_ids == 13] = np.random.default_rng(5).standard_normal((4, FEATURES))
    again = MetricFitter(other, label_ids).fit()
    assert again.without(13).center == pytest.approx(fitted.without(13).center)
    assert again.without(12).center != pytest.approx(fitted.without(12).center)
    assert fitted.without(11) is fitted.without(19)
    assert fitted.without(99) is fitted.metric


def test_bytes_keep_a_metric() -> None:
    rows, label_ids = _rows(1, 10, 4)
    fitted = MetricFitter(rows, label_ids).fit()
    again = FittedMetric.from_bytes(fitted.to_bytes(), FEATURES, DIRECTIONS, 8)
    assert again.label_ids.tolist() == fitted.label_ids.tolist()
    assert again.metric.directions == pytest.approx(fitted.metric.directions, abs=1e-3)
    assert again.folds[7].damping == pytest.approx(fitted.folds[7].damping, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "not a metric"),
        (lambda data: data[:100], "not a metric"),
        (lambda data: b"\xff" * len(data), "not a finite number"),
    ],
)
def test_corrupt_bytes_are_refused(change: object, message: str) -> None:
    rows, label_ids = _rows(1, 10, 4)
    data = MetricFitter(rows, label_ids).fit().to_bytes()
    with pytest.raises(ValueError, match=message):
        FittedMetric.from_bytes(change(data), FEATURES, DIRECTIONS, 8)  # type: ignore[operator]
