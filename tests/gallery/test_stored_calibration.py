"""The calibration is stored by the process that changes a gallery, so that no query measures it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.features import calibrate, fitted, memory
from edge_runtime.gallery.maintenance import verify

MODEL = FakeEngine().model
LABELS, PICTURES = 12, 5


def _code(label: int, picture: int) -> LabeledCode:
    rng = np.random.default_rng((label, picture))
    center = np.random.default_rng(label).standard_normal(64)
    features = (center + 0.5 * rng.standard_normal(64)).astype(np.float32)
    code = rng.integers(0, 1 << 63, 1, np.uint64)
    return LabeledCode(f"label {label}", code, features=quantize(features))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll([_code(label, n) for n in range(PICTURES) for label in range(LABELS)])
    return path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that the calibration is measured."""
    calls: list[int] = []

    def counted(*given: object, second_look: bool) -> object:
        calls.append(1)
        return calibrate.measure(*given, second_look=second_look)  # type: ignore[arg-type]

    monkeypatch.setattr(memory, "measure", counted)
    return calls


def test_a_reader_does_not_measure(path: Path, measured: list[int]) -> None:
    with Gallery(path, MODEL, read_only=True) as reader, Gallery(path, MODEL) as writer:
        stored = reader.calibration()
        assert stored is not None and not measured
        assert writer.refit().metric_kept or writer.snapshot()
        writer.store_calibration()
        before = len(measured)
        again = reader.calibration()
        assert len(measured) == before
        writer.store_calibration()  # nothing has changed
        assert len(measured) == before
        assert again == writer.calibration()
    (path.parent / "copy.sqlite").write_bytes(path.read_bytes())
    with Gallery(path.parent / "copy.sqlite", MODEL, read_only=True) as copy:
        assert copy.calibration() == again
    assert len(measured) == before
    assert verify(path) == []


def test_a_small_change_is_answered_with_the_earlier_one(path: Path, measured: list[int]) -> None:
    with Gallery(path, MODEL, read_only=True) as reader, Gallery(path, MODEL) as writer:
        before = reader.calibration()
        writer.enroll([_code(3, 99)])
        assert reader.calibration() == before and not measured
        writer.store_calibration()
        assert measured == [1]
        after = reader.calibration()
        assert after == writer.calibration() != before
        writer.remove(label="label 3")
        writer.remove(label="label 4")  # two of twelve labels: too many
        assert reader.calibration() not in (before, after)
        assert len(measured) == 2


def test_closing_stores_it(path: Path, measured: list[int]) -> None:
    with Gallery(path, MODEL) as writer:
        writer.enroll([_code(20, n) for n in range(4)])
    assert measured == [1]
    with Gallery(path, MODEL) as unchanged:
        assert unchanged.calibration() is not None
    assert measured == [1]


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ("UPDATE calibration SET details = '{}'", 1),
        ("UPDATE calibration SET stamp = zeroblob(8)", 1),
        ("DELETE FROM calibration", 0),
    ],
)
def test_a_corrupt_one_is_measured_again(
    path: Path, measured: list[int], change: str, faults: int
) -> None:
    with Gallery(path, MODEL, read_only=True) as reader:
        expected = reader.calibration()
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    assert len(verify(path)) == faults
    with Gallery(path, MODEL, read_only=True) as reader:
        assert reader.calibration() == expected
    assert measured == [1]


def test_one_of_another_version_is_measured_again(
    path: Path, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitted, "CALIBRATION_VERSION", 99)
    with Gallery(path, MODEL, read_only=True) as reader:
        assert reader.calibration() is not None
    assert measured == [1]
    assert verify(path) == []


def test_labels_that_are_mixed_up_lower_the_confidence(tmp_path: Path) -> None:
    """Three things have two labels each: half of their pictures get the other one."""

    def trust(mixed: int) -> float:
        codes = [_code(label, n) for n in range(2 * PICTURES) for label in range(LABELS)]
        for number, code in enumerate(codes):
            if number % LABELS < mixed:
                codes[number] = replace(code, label=f"{code.label} {number // LABELS % 2}")
        with Gallery(tmp_path / f"{mixed}.sqlite", MODEL, create=True) as gallery:
            gallery.enroll(codes)
            measured = gallery.calibration()
        assert measured is not None
        return measured.trust

    assert trust(3) < 0.95 < trust(0)
