"""Fit the code to a gallery: it is judged, kept only if better, and stored as a whole."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.code import Embedding
from edge_runtime.engine import open_engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import enroll_photos
from edge_runtime.errors import FeaturesMissingError, GalleryDamagedError, InputError
from edge_runtime.fitting.calibration import FALSE_NAME_RATE
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery, LabeledCode, records
from edge_runtime.gallery.features import index as feature_index
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.upkeep.repair import repair
from edge_runtime.recognition.similarity import similarity_verdict
from tests.support.processes import run_cli

MODEL = FakeEngine().model
PICTURES = 4
NOISE = 0.6
FEATURES = 1024


def _features(label: int, picture: int) -> np.ndarray:
    """Features of a label, with noise; the labels differ in all directions."""
    center = np.random.default_rng((1, label)).standard_normal(64)
    noise = np.random.default_rng((2, label, picture)).standard_normal(64)
    return (center + NOISE * noise).astype(np.float32)


def _enroll(gallery: Gallery, labels: int, pictures: int = PICTURES) -> None:
    """Enroll pictures whose own codes say nothing about their labels."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 1 << 63, (labels, pictures), np.uint64)
    gallery.enroll(
        [
            LabeledCode(
                f"label {label}",
                codes[label, picture : picture + 1],
                digest=bytes([label, picture]) * 16,
                features=quantize(_features(label, picture)),
            )
            for picture in range(pictures)
            for label in range(labels)
        ]
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.sqlite"


@pytest.mark.parametrize("bits", [16, 64, 128])
def test_a_better_code_is_kept_and_searched(path: Path, bits: int) -> None:
    with Gallery(path, MODEL, create=True) as gallery, Gallery(path, MODEL) as reader:
        _enroll(gallery, 10)
        assert reader.rank(Embedding(np.zeros(1, np.uint64), _features(3, 9)))
        generation = gallery.stats().generation
        outcome = gallery.refit(bits)
        assert (outcome.code_kept, outcome.left_out, outcome.bits) == (True, 10, bits)
        assert outcome.found_after > outcome.found_before
        stats = gallery.stats()
        assert (stats.fitted_bits, stats.generation) == (bits, generation + 1)
        for label in range(10):  # another process sees it at once
            ranking = reader.rank(Embedding(np.zeros(1, np.uint64), _features(label, 9)))
            assert ranking is not None
            assert ranking.labels[0].label == f"label {label}"
            assert ranking.matches[0].distance < bits / 2
    assert verify(path) == []


def test_the_same_refit_changes_nothing(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, 10)
        first = gallery.refit(64)
        generation = gallery.stats().generation
        assert gallery.refit(64) == first
        assert gallery.stats().generation == generation


def test_a_code_that_is_no_better_than_the_model_is_removed(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, 10)
        assert gallery.refit(64).code_kept
        gallery.remove(ids=range(1, 41))
        gallery.enroll(
            [
                LabeledCode(
                    f"label {label}",
                    np.full(1, 1 << label, np.uint64),  # the model's code tells all labels apart
                    digest=bytes([label, picture]) * 16,
                    features=quantize(_features(picture, label)),  # the features do not
                )
                for picture in range(4)
                for label in range(10)
            ]
        )
        outcome = gallery.refit(64)
        assert not outcome.code_kept
        assert "code of 64 bits: not kept" in outcome.summary()
        assert gallery.stats().fitted_bits is None


def test_a_dry_run_changes_nothing(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, 10)
        before = gallery.stats()
        assert gallery.refit(64, dry_run=True).code_kept
        assert gallery.stats() == before


@pytest.mark.parametrize(("labels", "pictures"), [(1, 1), (1, 8), (3, 2), (40, 1)])
def test_too_few_pictures_keep_the_present_code(path: Path, labels: int, pictures: int) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, labels, pictures)
        outcome = gallery.refit(64)
        assert (outcome.kept, outcome.judged) == (False, 0)
        assert "too few labels with two pictures" in outcome.summary()
        assert gallery.rank(Embedding(np.zeros(1, np.uint64), _features(0, 0)))


def test_equal_pictures_are_no_fault(path: Path) -> None:
    same = quantize(_features(0, 0))
    with Gallery(path, MODEL, create=True) as gallery:
        gallery.enroll(
            [
                LabeledCode(str(label), np.zeros(1, np.uint64), features=same)
                for label in [*range(6)] * 2
            ]
        )
        assert not gallery.refit(64).kept


def test_codes_without_features_are_reported(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        with pytest.raises(FeaturesMissingError, match="nothing is enrolled"):
            gallery.refit(64)
        _enroll(gallery, 6)
        gallery.enroll([LabeledCode("old", np.zeros(1, np.uint64))])
        with pytest.raises(FeaturesMissingError, match="1 of 25 codes have no features"):
            gallery.refit(64)


def test_too_many_codes_are_compared_without_features_and_the_user_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, 10)
        assert gallery.refit(64).code_kept
        for module in (records, feature_index):
            monkeypatch.setattr(module, "MOST_CODES", 39)
        with Gallery(path, MODEL, read_only=True) as opened:
            code = opened.content().codes[7][1].code
            assert opened.rank(Embedding(code, _features(7, 0))) is None
            assert opened.search(code, 1)[0].distance == 0  # the model's own code, not the fitted
            note = opened.stats().lacking_features()
        assert note.startswith("40 codes are more than the limit of 39 for features")
        assert "queries compare only codes, and the fit is not used" in note
        gallery.remove(ids=[1])
        assert gallery.stats().lacking_features() == ""
        assert gallery.searched_bits() == 64
        ranking = gallery.rank(Embedding(code, _features(7, 9)))
        assert ranking is not None and ranking.labels[0].label == "label 7"


def test_bits_out_of_range_are_refused(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, 6)
        with pytest.raises(InputError, match="bits must be between 16 and 256, got 8"):
            gallery.refit(8)


def test_new_pictures_get_the_fitted_code(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, 10)
        gallery.refit(64)
        features = _features(20, 0)
        gallery.enroll([LabeledCode("new", np.zeros(1, np.uint64), features=quantize(features))])
        ranking = gallery.rank(Embedding(np.ones(1, np.uint64), features))
        assert ranking is not None
        assert (ranking.labels[0].label, ranking.labels[0].similarity) == ("new", 1.0)
        assert ranking.matches[0].distance <= 1  # int8 features may flip a bit


def _look_alike(label: int, picture: int) -> np.ndarray:
    """Features of things that have much in common, photographed in light that differs."""
    common, light = (np.random.default_rng(seed).standard_normal((3, 64)) for seed in (1, 2))
    own = np.random.default_rng(100 + label).standard_normal(64)
    noise = np.random.default_rng((label, picture)).standard_normal(64)
    lit = np.random.default_rng((9, label, picture)).standard_normal(3) @ light
    features: np.ndarray = 2 * common[0] + 0.7 * own + 0.8 * lit + 0.3 * noise
    return features.astype(np.float32)


def test_look_alike_things_get_a_metric(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery, Gallery(path, MODEL) as reader:
        codes = np.random.default_rng(3).integers(0, 1 << 63, (12, 6), np.uint64)
        gallery.enroll(
            [
                LabeledCode(
                    f"label {label}",
                    codes[label, picture : picture + 1],
                    features=quantize(_look_alike(label, picture)),
                )
                for picture in range(6)
                for label in range(12)
            ]
        )

        def right(opened: Gallery) -> int:
            verdicts = []
            for label in range(12):
                embedding = Embedding(np.zeros(1, np.uint64), _look_alike(label, 99))
                ranking = opened.rank(embedding)
                assert ranking is not None
                found = similarity_verdict(ranking.labels, ranking.calibration, FALSE_NAME_RATE)
                verdicts.append(found.label == f"label {label}")
            return sum(verdicts)

        before = right(reader)
        outcome = gallery.refit(64)
        assert outcome.metric_kept, outcome.summary()
        assert outcome.right_after > outcome.right_before
        assert right(reader) > max(before, 8)  # another process uses it at once
        stranger = Embedding(np.zeros(1, np.uint64), _look_alike(77, 0))
        ranking = reader.rank(stranger)
        assert ranking is not None
        verdict = similarity_verdict(ranking.labels, ranking.calibration, FALSE_NAME_RATE)
        assert verdict.label is None
        enrolled = reader.rank(Embedding(np.zeros(1, np.uint64), _look_alike(3, 3)))
        assert enrolled is not None
        assert (enrolled.labels[0].label, enrolled.labels[0].similarity) == ("label 3", 1.0)
    assert verify(path) == []
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE metric SET weights = zeroblob(length(weights))")
    connection.close()
    assert verify(path) == ["fitted metric: its checksum does not match"]
    with Gallery(path, MODEL) as damaged, pytest.raises(GalleryDamagedError, match="fitted"):
        damaged.rank(stranger)
    repair(path)
    assert verify(path) == []


def test_a_refit_is_due_when_enough_has_changed(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        assert gallery.refit_if_due() is None  # nothing is enrolled
        _enroll(gallery, 4, 3)
        assert gallery.refit_if_due() is None  # too little to judge a fit
        gallery.remove(label="label 3")
        _enroll(gallery, 10)
        assert gallery.refit_if_due() is not None
        assert gallery.refit_if_due() is None
        gallery.enroll([_spare(number) for number in range(2)])
        assert gallery.refit_if_due() is None
        gallery.enroll([_spare(number) for number in range(2, 4)])
        assert gallery.refit_if_due() is not None
        gallery.enroll([LabeledCode("old", np.zeros(1, np.uint64))])
        assert gallery.refit_if_due() is None  # a code has no features


def _spare(number: int) -> LabeledCode:
    return LabeledCode(
        "label 1",
        np.full(1, number, np.uint64),
        digest=bytes([200 + number]) * 16,
        features=quantize(_features(1, 50 + number)),
    )


REFIT_AGAIN_AND_AGAIN = """
import sys
from edge_runtime.engine import open_engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.features.fitted import write_layer
with Gallery(sys.argv[1], FakeEngine().model) as gallery:
    for round in range(10_000):
        print(gallery.refit(64 + round % 2 * 64).kept, flush=True)
        write_layer(gallery._connection, None, {})
"""


def test_a_kill_leaves_the_old_code_or_the_new_one(path: Path) -> None:
    with Gallery(path, MODEL, create=True) as gallery:
        _enroll(gallery, 10)
    for wait_s in (0.0, 0.01, 0.03, 0.05, 0.08):
        process = subprocess.Popen(
            [sys.executable, "-c", REFIT_AGAIN_AND_AGAIN, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert verify(path) == []
        with Gallery(path, MODEL) as gallery:
            assert gallery.stats().fitted_bits in (None, 64, 128)
            ranking = gallery.rank(Embedding(np.zeros(1, np.uint64), _features(4, 9)))
            assert ranking is not None
            assert ranking.labels[0].label == "label 4"


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    path = tmp_path / "real.sqlite"
    engine = open_engine()
    with Gallery(path, engine.model, create=True) as gallery:
        rng = np.random.default_rng(1)
        images = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(2)]
        enroll_photos(engine, gallery, [("noise", image) for image in images])
    done = run_cli("gallery", "refit", "--gallery", path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "nothing is fitted: too few labels" in done.stdout
    done = run_cli("gallery", "refit", "--gallery", path, "--bits", "128", "--json")
    assert json.loads(done.stdout)["bits"] == 128


def _enroll_more(gallery: Gallery, start: int, labels: int, pictures: int = 3) -> None:
    """Enroll features of the gallery's model, whose own codes say nothing about their labels."""
    rng = np.random.default_rng(start)
    entries = []
    for label in range(start, start + labels):
        center = np.random.default_rng((5, label)).standard_normal(FEATURES)
        for _ in range(pictures):
            features = (center + NOISE * rng.standard_normal(FEATURES)).astype(np.float32)
            code = rng.integers(0, 1 << 63, 1, np.uint64)
            entries.append(
                LabeledCode(
                    f"label {label}", code, digest=rng.bytes(32), features=quantize(features)
                )
            )
    gallery.enroll(entries)


def test_merge_keeps_the_fit_of_the_receiver(path: Path, tmp_path: Path) -> None:
    with (
        Gallery(path, MODEL, create=True) as gallery,
        Gallery(tmp_path / "other.sqlite", MODEL, create=True) as other,
    ):
        _enroll_more(gallery, 0, 20)
        assert gallery.refit(128).code_kept
        _enroll_more(other, 100, 1)
        gallery.merge(other)
        assert gallery.stats().fitted_bits == gallery.searched_bits() == 128
        assert not gallery.refit_due()  # one of 21 labels is new
        center = np.random.default_rng((5, 100)).standard_normal(FEATURES).astype(np.float32)
        ranking = gallery.rank(Embedding(np.zeros(1, np.uint64), center))
        assert ranking is not None
        assert ranking.labels[0].label == "label 100"
        assert ranking.matches[0].distance < 32  # searched by the fitted code
    assert verify(path) == []


def test_the_merge_command_fits_to_both_galleries(tmp_path: Path) -> None:
    model = open_engine().model
    path, source = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    with Gallery(path, model, create=True) as gallery, Gallery(source, model, create=True) as other:
        _enroll_more(gallery, 0, 3)
        _enroll_more(other, 10, 12)
        assert other.refit(128).code_kept
    merge = ("gallery", "merge", "--gallery", path, source)
    without = run_cli(*merge, "--model", tmp_path / "missing.onnx")
    assert without.returncode == 0, without.stderr
    assert "added 36 pictures" in without.stdout
    assert "the code was not fitted to the new content" in without.stderr
    assert len(without.stderr.splitlines()) == 1
    done = run_cli(*merge, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["pictures_added"], answer["pictures_known"]) == (0, 36)
    assert (answer["refit"]["bits"], answer["refit"]["labels"]) == (128, 15)
    with Gallery(path, model, read_only=True) as gallery:
        assert gallery.stats().fitted_bits == 128
    again = run_cli(*merge, "--json")
    assert json.loads(again.stdout)["refit"] is None  # nothing has changed
    assert verify(path) == []
