"""Advice on a gallery: what it finds, and that it equals a full comparison."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.code import Embedding
from edge_runtime.engine import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.fitting.calibration import SAME
from edge_runtime.fitting.quantized import quantize, unit
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.advice import survey
from edge_runtime.gallery.advice.actions import text_of
from edge_runtime.gallery.advice.leave_one_out import leave_one_out, sampled
from edge_runtime.gallery.advice.survey import AdviceOptions
from edge_runtime.gallery.advice.warning import enrollment_warning
from edge_runtime.gallery.features import index as feature_index
from edge_runtime.gallery.pictures import view_digest
from edge_runtime.image import Image
from edge_runtime.image.decode import read_photo
from edge_runtime.image.quality import photo_fault
from tests.support.photo_sets import shared
from tests.support.processes import run_cli

MODEL = FakeEngine().model
FEATURES = 64


def _features(label: int, picture: int, noise: float = 0.6) -> np.ndarray:
    center = np.random.default_rng((1, label)).standard_normal(FEATURES)
    away = np.random.default_rng((2, label, picture)).standard_normal(FEATURES)
    return (center + noise * away).astype(np.float32)


def _item(label: str, features: np.ndarray | None, number: int, **more: object) -> LabeledCode:
    """A picture with one code, whose bits are the signs of the features."""
    values = np.zeros(FEATURES) if features is None else features
    code = np.packbits(values > 0, bitorder="little").view(np.uint64)
    kept = None if features is None else quantize(features)
    digest = number.to_bytes(32, "big")
    options = {"source": f"{number}.jpg", "digest": digest, "features": kept, **more}
    return LabeledCode(label, code, **options)  # type: ignore[arg-type]


def _fill(gallery: Gallery, labels: int, pictures: int, noise: float = 0.6) -> None:
    gallery.enroll(
        [
            _item(f"label {label}", _features(label, picture, noise), 1000 * label + picture)
            for label in range(labels)
            for picture in range(pictures)
        ]
    )


def _jpeg(image: Image) -> bytes:
    return bytes(cv2.imencode(".jpg", image)[1])


def test_an_empty_gallery(gallery: Gallery) -> None:
    advice = gallery.advise()
    assert advice.actions == ("Enroll photos: edge-runtime enroll FOLDER",)
    assert (advice.pictures, advice.accuracy, advice.note) == (0, None, "")
    assert text_of(advice).endswith("enroll FOLDER")


def test_a_good_gallery_needs_nothing(gallery: Gallery) -> None:
    _fill(gallery, 12, 5, noise=0.4)
    advice = gallery.advise()
    assert advice.actions == ("Nothing needs a new photo now.",)
    assert advice.accuracy is not None
    assert (advice.accuracy.pictures, advice.accuracy.right) == (60, 60)
    assert advice.accuracy.strangers_named == 0
    assert not (advice.few or advice.mislabeled or advice.alike or advice.duplicates)


def test_one_label_only(gallery: Gallery) -> None:
    _fill(gallery, 1, 5)
    advice = gallery.advise()
    assert any("Enroll a second label" in action for action in advice.actions)
    assert advice.accuracy is not None
    assert (advice.accuracy.strangers, advice.accuracy.wrong) == (0, 0)


def test_all_photos_alike(gallery: Gallery) -> None:
    same = _features(0, 0)
    gallery.enroll([_item("cat", same, number) for number in range(6)])
    advice = gallery.advise()
    assert len(advice.repeated) == 5
    assert {pair.other.id for pair in advice.repeated} == {1}
    assert [(few.label, few.pictures, few.needed) for few in advice.few] == [("cat", 1, 2)]
    assert advice.accuracy is None  # a new photo is not a copy
    assert "5 of its 6 pictures repeat another one" in text_of(advice)


def test_a_thousand_labels_with_one_photo(gallery: Gallery) -> None:
    _fill(gallery, 1000, 1)
    advice = gallery.advise()
    assert len(advice.few) == 1000
    assert advice.accuracy is None
    assert "and 997 other labels" in advice.actions[0]
    assert "and 992 more (--json lists all)" in text_of(advice)


def test_pictures_without_features(gallery: Gallery) -> None:
    gallery.enroll([_item("cat", None, number) for number in range(4)])
    gallery.enroll([_item("dog", None, 3)])
    advice = gallery.advise()
    assert advice.note.startswith("pictures are not compared: 5 of 5 codes have no features")
    assert (advice.queried, advice.accuracy) == (0, None)
    assert [few.label for few in advice.few] == ["dog"]
    assert [(p.picture.label, p.other.label) for p in advice.duplicates] == [("cat", "dog")]


def test_more_codes_than_are_compared(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (feature_index, survey):
        monkeypatch.setattr(module, "MOST_CODES", 10)
    _fill(gallery, 4, 3)
    advice = gallery.advise()
    assert advice.note == "pictures are not compared: 12 codes are more than the limit of 10"
    assert advice.photos.unavailable == 12


def test_a_wrong_label_is_found(gallery: Gallery) -> None:
    _fill(gallery, 8, 4)
    gallery.enroll([_item("label 2", _features(5, 9), 9)])
    advice = gallery.advise()
    (found,) = advice.mislabeled
    assert (found.picture.source, found.picture.label) == ("9.jpg", "label 2")
    assert found.other.label == "label 5"
    assert found.other_similarity > found.similarity
    assert advice.actions[0] == (
        "Check the label of 1 picture: label 2/9.jpg (id 33) looks like label 5."
    )
    assert not advice.alike


def test_labels_that_are_alike_are_found(gallery: Gallery) -> None:
    _fill(gallery, 8, 4)
    twins = [_features(3, number) for number in range(20, 24)]
    gallery.enroll([_item("twin", each, 20 + n) for n, each in enumerate(twins)])
    advice = gallery.advise()
    (pair,) = advice.alike
    assert (pair.label, pair.other_label) == ("label 3", "twin")
    assert pair.picture.label == "label 3"
    assert pair.other.label == "twin"
    assert pair.checked == 8
    assert not advice.mislabeled
    assert "label 3 and twin" in advice.actions[0]


def test_near_duplicates_are_found(gallery: Gallery) -> None:
    _fill(gallery, 8, 4)
    copy = _features(3, 0) * 1.01
    copy[:4] += 0.02
    gallery.enroll([_item("label 3", copy, 50), _item("label 6", copy, 51)])
    advice = gallery.advise()
    (again,) = advice.repeated
    assert (again.picture.source, again.other.source) == ("50.jpg", "3000.jpg")
    assert again.similarity >= SAME
    assert {pair.other.source for pair in advice.duplicates} == {"51.jpg"}
    assert {pair.picture.label for pair in advice.duplicates} == {"label 3"}


def test_each_label_gets_its_share_of_a_sample() -> None:
    owners = np.repeat(np.array([1, 2, 3], np.uint32), [80, 5, 15])
    chosen = sampled(np.arange(100), owners, 20)
    assert np.bincount(owners[chosen]).tolist() == [0, 8, 5, 7]
    assert np.array_equal(chosen, sampled(np.arange(100), owners, 20))
    assert (np.diff(chosen) > 0).all()


def test_limits_are_kept_and_stated(gallery: Gallery) -> None:
    _fill(gallery, 8, 4)
    advice = gallery.advise(AdviceOptions(most_pictures=10, most_photos=3))
    assert (advice.queried, advice.photos.unavailable, advice.photos.skipped) == (10, 3, 29)
    assert "29 pictures not checked" in text_of(advice)
    assert "3 pictures could not be checked" in text_of(advice)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_trial_equals_a_query_of_the_gallery_without_the_picture(data: st.DataObject) -> None:
    owners = data.draw(st.lists(st.sampled_from("abc"), min_size=2, max_size=14))
    kinds = data.draw(
        st.lists(st.integers(0, 6), min_size=len(owners), max_size=len(owners))
    )  # the same kind and picture under two owners is a duplicate
    views = data.draw(st.integers(1, 3))
    items = []
    for number, (owner, kind) in enumerate(zip(owners, kinds, strict=True)):
        for view in range(views):
            item = _item(owner, _features(kind % 4, 10 * kind + view), number)
            digest = view_digest(number.to_bytes(32, "big"), view)
            items.append(LabeledCode(owner, item.code, item.source, digest, None, item.features))
    with (
        TemporaryDirectory() as folder,
        Gallery(Path(folder) / "g.sqlite", MODEL, create=True) as gallery,
    ):
        gallery.enroll(items)
        gallery.snapshot()
        index = gallery._memory.index
        assert index is not None
        trials = leave_one_out(index, 100)
        assert [trial.row for trial in trials] == list(range(0, len(items), views))
        units = unit(np.stack([np.asarray(item.features) for item in items]))
        for trial in trials:
            own = [
                n for n in range(0, len(items), views) if items[n].label == items[trial.row].label
            ]
            copies = [n for n in own if n != trial.row and units[n] @ units[trial.row] >= SAME]
            assert list(trial.copies) == copies
            gone = {n + view for n in [trial.row, *copies] for view in range(views)}
            rest = [item for n, item in enumerate(items) if n not in gone]
            item = items[trial.row]
            query = Embedding(item.code, np.asarray(item.features, np.float32))
            with Gallery(Path(folder) / f"{trial.row}.sqlite", MODEL, create=True) as other:
                other.enroll(rest)
                ranking = other.rank(query)
            if ranking is None:
                assert trial.best is None
                continue
            expected = {one.label: one.similarity for one in ranking.labels}
            names = index.snapshot.labels
            assert trial.best is not None
            assert trial.best.similarity == pytest.approx(ranking.labels[0].similarity, abs=2e-3)
            own_one = expected.pop(item.label, None)
            assert (trial.own is None) == (own_one is None)
            if trial.own is not None:
                assert trial.own.similarity == pytest.approx(own_one, abs=2e-3)
            assert (trial.other is None) == (not expected)
            if trial.other is not None:
                highest = max(expected.values())
                assert trial.other.similarity == pytest.approx(highest, abs=2e-3)
                assert expected[names[trial.other.label_id]] == pytest.approx(highest, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("each", [10, 1000])
def test_a_thousand_pictures_take_seconds(gallery: Gallery, each: int) -> None:
    rng = np.random.default_rng(0)
    items = []
    for number in range(1000):
        center = np.random.default_rng(number // each).standard_normal(1024)
        for view in range(6):
            features = (center + rng.standard_normal(1024)).astype(np.float32)
            code = np.packbits(features[:64] > 0).view(np.uint64)
            digest = view_digest(number.to_bytes(32, "big"), view)
            items.append(
                LabeledCode(f"{number // each}", code, "", digest, None, quantize(features))
            )
    gallery.enroll(items)
    gallery.snapshot()
    gallery.calibration()
    began = time.process_time()
    advice = gallery.advise()
    assert advice.queried == 1000
    assert time.process_time() - began < 6  # 1.0 and 1.7 s on a desktop


def test_pixels_come_from_the_kept_picture_or_the_enrolled_file(
    gallery: Gallery, engine: Engine, tmp_path: Path, cat: Image
) -> None:
    dark = (cat * 0.2).astype(np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(cat, (0, 0), 5), np.uint8)
    files = {"good": cat, "dark": dark, "blurred": blurred, "gone": dark, "changed": dark}
    for name, image in files.items():
        (tmp_path / f"{name}.jpg").write_bytes(_jpeg(image))
    photos = [(name, tmp_path / f"{name}.jpg") for name in files]
    with Gallery(tmp_path / "real.sqlite", engine.model, create=True) as real:
        enroll_photos(engine, real, photos, EnrollOptions(views=False))
        (tmp_path / "gone.jpg").unlink()
        (tmp_path / "changed.jpg").write_bytes(_jpeg(cat))
        checked = real.advise().photos
    assert [(one.picture.label, one.fault) for one in checked.faulty] == [
        ("dark", "dark"),
        ("blurred", "blurred"),
    ]
    assert (checked.checked, checked.unavailable, checked.skipped) == (3, 2, 0)
    kept = [("uniform", np.full((64, 64, 3), 128, np.uint8)), ("fine", cat)]
    gallery.enroll(
        [
            _item(name, _features(n, 0), n, picture=_jpeg(image))
            for n, (name, image) in enumerate(kept)
        ]
    )
    checked = gallery.advise().photos
    assert [(one.picture.label, one.fault) for one in checked.faulty] == [("uniform", "uniform")]


def test_an_enrollment_warns_about_its_own_labels_only(gallery: Gallery) -> None:
    _fill(gallery, 8, 4)
    assert enrollment_warning(gallery, {f"label {n}" for n in range(8)}) == ""
    gallery.enroll([_item("label 2", _features(5, 9), 9)])
    assert enrollment_warning(gallery, {"label 2"}) == (
        "advice: 1 picture has probably the wrong label (run: edge-runtime gallery advise)"
    )
    assert enrollment_warning(gallery, {"label 7"}) == ""
    assert enrollment_warning(gallery, set()) == ""


def test_enroll_prints_the_warning(tmp_path: Path, cat: Image) -> None:
    (tmp_path / "cat.jpg").write_bytes(_jpeg(cat))
    path = tmp_path / "g.sqlite"
    for label, warned in (("cat", False), ("dog", True), ("dog", False)):
        photo = tmp_path / "cat.jpg"
        done = run_cli("enroll", "--gallery", path, "--label", label, "--no-views", photo)
        assert done.returncode == 0, done.stderr
        assert ("advice: 1 picture is under two labels" in done.stderr) == warned


def test_the_command_prints_text_and_json(tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"
    with Gallery(path, MODEL, create=True) as gallery:
        _fill(gallery, 6, 3)
        gallery.enroll([_item("lonely", _features(20, 0), 99)])
        expected = gallery.advise()
    done = run_cli("gallery", "advise", "--gallery", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("What to do next\n  1. Photograph lonely from other sides")
    assert "Expected accuracy" in done.stdout
    done = run_cli("gallery", "advise", "--gallery", path, "--json")
    assert json.loads(done.stdout) == json.loads(json.dumps(asdict(expected)))


@pytest.mark.slow
def test_a_swapped_label_among_real_photos(tmp_path: Path, engine: Engine) -> None:
    folders = sorted({photo.parent for photo in (shared("grocery") / "train").rglob("*.jpg")})[::10]
    photos = [(each.name, photo) for each in folders for photo in sorted(each.iterdir())[:5]]
    with Gallery(tmp_path / "real.sqlite", engine.model, create=True) as gallery:
        enroll_photos(engine, gallery, photos, EnrollOptions(views=False))
        advice = gallery.advise()
        assert not (advice.mislabeled or advice.duplicates)
        assert advice.accuracy is not None
        assert advice.accuracy.wrong <= 0.05 * advice.accuracy.pictures
        swapped = sorted(folders[0].iterdir())[5]
        wrong = [(folders[4].name, swapped)]
        enroll_photos(engine, gallery, wrong, EnrollOptions(views=False))
        (found,) = gallery.advise().mislabeled
    assert (found.picture.source, found.other.label) == (str(swapped), folders[0].name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grocery", "ie_tower"])
def test_good_photos_are_rarely_called_bad(name: str) -> None:
    """The limits are those that docs/GALLERY.md states."""
    photos = sorted(shared(name).rglob("*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(photos))[:400].tolist()
    faults: Counter[str] = Counter()
    for number in chosen:
        image = read_photo(photos[number])
        side = min(image.shape[:2])
        length = max(3, round(0.06 * side))
        moved = np.zeros((length, length), np.float32)
        moved[length // 2] = 1 / length
        changed = {
            "unchanged": image,
            "blurred": cv2.GaussianBlur(image, (0, 0), 0.01 * side),
            "moved": cv2.filter2D(image, -1, moved),
            "dark": (image * 0.25).astype(np.uint8),
        }
        for kind, each in changed.items():
            faults[kind] += photo_fault(np.asarray(each, np.uint8)) is not None
    rates = {kind: faults[kind] / len(chosen) for kind in ("unchanged", "blurred", "moved", "dark")}
    assert rates["unchanged"] <= 0.01
    assert rates["blurred"] >= 0.9
    assert rates["moved"] >= 0.75
    assert rates["dark"] >= 0.98
