"""Features as int8, the fitted hash layer, and how it is fitted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.code import unpack
from edge_runtime.errors import EngineError
from edge_runtime.fitting.fit import fit_layer
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.quantized import quantize, unit


def _features(rows: int, size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, size)).astype(np.float32)


def _layer(bits: int = 20, size: int = 12) -> HashLayer:
    return HashLayer(_features(bits, size), _features(1, bits, 2)[0])


@given(st.integers(0, 2**32 - 1), st.integers(2, 64), st.floats(1e-30, 1e15))
def test_quantized_features_keep_the_cosine(seed: int, size: int, scale: float) -> None:
    features = _features(2, size, seed)
    before, after = unit(features), unit(quantize(features * np.float32(scale)))
    assert abs(float(before[0] @ before[1] - after[0] @ after[1])) < 0.01


def test_quantize_scales_each_row_to_127() -> None:
    rows = np.array([[0, 0], [0.5, -1], [1e-42, 0], [-3e38, 1e38]], np.float32)
    assert quantize(rows).tolist() == [[0, 0], [64, -127], [127, 0], [-127, 42]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(EngineError, match="not finite"):
        quantize(np.array([1, value], np.float32))


def test_a_layer_is_stored_and_read() -> None:
    layer = _layer()
    again = HashLayer.from_bytes(layer.to_bytes(), layer.bits)
    np.testing.assert_array_equal(again.weight, layer.weight)
    np.testing.assert_array_equal(again.bias, layer.bias)


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (b"", 20),
        (_layer().to_bytes()[:-1], 20),
        (_layer().to_bytes()[:-4], 20),
        (_layer().bias.tobytes(), 20),
        (_layer().to_bytes(), 0),
        (_layer().to_bytes(), 19),
        (np.full(4, np.nan, np.float32).tobytes(), 2),
    ],
)
def test_bytes_that_are_not_a_layer_are_refused(data: bytes, bits: int) -> None:
    with pytest.raises(ValueError):
        HashLayer.from_bytes(data, bits)


def test_codes_are_the_signs_of_the_logits() -> None:
    layer, features = _layer(), _features(50, 12)
    expected = unit(features) @ layer.weight.T + layer.bias
    np.testing.assert_allclose(layer.logits(features), expected, atol=1e-6)
    np.testing.assert_array_equal(unpack(layer.codes(features), 20), expected > 0)
    np.testing.assert_array_equal(layer.codes(features[3]), layer.codes(features)[3])
    np.testing.assert_array_equal(layer.codes(1000 * features), layer.codes(features))


def test_fitting_is_deterministic() -> None:
    features, labels = _features(40, 24), np.arange(40) // 4
    assert fit_layer(features, labels, 16).to_bytes() == fit_layer(features, labels, 16).to_bytes()


SMALL = {
    "one row": (_features(1, 24), [0], 16),
    "one label": (_features(9, 24), [0] * 9, 16),
    "equal rows": (np.repeat(_features(1, 24), 6, axis=0), [0, 0, 1, 1, 2, 2], 16),
    "one row per label": (_features(10, 24), list(range(10)), 16),
    "fewer rows than bits": (_features(6, 24), [0, 0, 1, 1, 2, 2], 64),
    "more bits than features": (_features(40, 24), [n // 4 for n in range(40)], 128),
    "a row of zeros": (np.vstack([_features(5, 24), np.zeros((1, 24))]), [0, 0, 1, 1, 2, 2], 16),
}


@pytest.mark.parametrize("case", SMALL)
def test_few_rows_suffice(case: str) -> None:
    features, labels, bits = SMALL[case]
    layer = fit_layer(quantize(features), np.array(labels, np.int64), bits)
    assert layer.weight.shape == (bits, 24)
    assert layer.bits == bits
    assert np.isfinite(layer.weight).all()
    assert np.isfinite(layer.bias).all()
    HashLayer.from_bytes(layer.to_bytes(), bits)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_a_fitted_code_separates_labels(seed: int) -> None:
    """Noise that is the same for all labels is ten times as strong as what tells them apart."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(6), 8)
    features = generator.standard_normal((48, 32))
    features[:, :4] *= 10
    features[:, 8:] = 0.1 * features[:, 8:] + generator.standard_normal((6, 24))[labels]
    codes = unpack(fit_layer(features.astype(np.float32), labels, 32).codes(features), 32)
    apart = (codes[:, np.newaxis] != codes).sum(axis=2)
    same = labels[:, np.newaxis] == labels
    assert apart[same].mean() < apart[~same].mean() / 2
