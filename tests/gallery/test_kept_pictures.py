"""Kept pictures, and the completion of galleries that lack them or features."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.engine import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import (
    EnrollOptions,
    EnrollResult,
    enroll_image,
    enroll_photos,
)
from edge_runtime.fitting.quantized import unit
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.maintenance import verify
from edge_runtime.image import Image
from edge_runtime.image.decode import decode_photo
from edge_runtime.image.preprocess import CROP, views_of
from edge_runtime.recognition.pipeline import embedding_of
from tests.support.processes import run_cli

KEEP = EnrollOptions(keep_pictures=True)


def _photos(noise: object, *seeds: int) -> list[tuple[str, Image]]:
    return [(f"label {seed % 2}", noise(seed)) for seed in seeds]  # type: ignore[operator]


def _strip(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def _enroll(
    gallery: Gallery, photos: list[tuple[str, Image]], options: EnrollOptions = KEEP
) -> EnrollResult:
    return enroll_photos(FakeEngine(), gallery, photos, options)


def test_a_kept_picture_is_on_the_code_of_the_whole_picture(
    gallery: Gallery, noise: object, fake_engine: FakeEngine, cat: Image
) -> None:
    _enroll(gallery, _photos(noise, 1, 2))
    enroll_image(fake_engine, gallery, "cat", cat, KEEP)
    kept = {number: item.picture for number, item in gallery.content().codes if item.picture}
    assert list(kept) == [1, 7, 13]
    side = round(fake_engine.model.input.size / CROP)
    assert decode_photo(kept[13]).shape == (side, side, 3)
    stats = gallery.stats()
    assert (stats.kept_pictures, stats.kept_bytes) == (3, sum(map(len, kept.values())))
    assert verify(gallery.path) == []


def test_pictures_are_not_kept_by_default(gallery: Gallery, noise: object) -> None:
    _enroll(gallery, _photos(noise, 1), EnrollOptions())
    assert gallery.stats().kept_pictures == 0


def test_enrolling_again_completes_only_what_is_missing(gallery: Gallery, noise: object) -> None:
    photos = _photos(noise, 1, 2, 3)
    _enroll(gallery, photos)
    expected = gallery.content().codes
    _strip(
        gallery.path,
        "DELETE FROM feature WHERE item_id IN (2, 3, 8)",
        "DELETE FROM picture WHERE item_id IN (1, 13)",
    )
    assert gallery.stats().features == 15
    assert "3 of 18 codes have no features" in gallery.stats().lacking_features()
    assert gallery.rank(embedding_of(FakeEngine(), photos[0][1])) is None
    generation = gallery.stats().generation
    done = _enroll(gallery, photos)
    assert (done.pictures_added, done.codes_added) == (0, 0)
    assert (done.pictures_known, done.pictures_completed) == (3, 3)
    assert gallery.stats().generation == generation + 1
    for (number, before), (same, after) in zip(expected, gallery.content().codes, strict=True):
        assert (number, before.label, before.picture) == (same, after.label, after.picture)
        assert np.array_equal(before.code, after.code)
        assert before.features is not None and after.features is not None
        assert np.array_equal(before.features, after.features)
    assert verify(gallery.path) == []
    assert gallery.stats().lacking_features() == ""
    assert gallery.rank(embedding_of(FakeEngine(), photos[0][1])) is not None
    again = _enroll(gallery, photos)
    assert (again.pictures_known, again.pictures_completed) == (3, 0)
    assert gallery.stats().generation == generation + 1


def test_completion_adds_no_views(gallery: Gallery, noise: object) -> None:
    photos = _photos(noise, 1, 2)
    _enroll(gallery, photos, EnrollOptions(views=False))
    gallery.remove(ids=[2])
    done = _enroll(gallery, photos)
    assert (done.pictures_completed, done.pictures_added, done.codes_added) == (1, 1, 6)
    assert gallery.stats().codes == 7


def test_a_model_without_features_completes_only_pictures(gallery: Gallery, noise: object) -> None:
    photos = _photos(noise, 1)
    _enroll(gallery, photos, EnrollOptions())
    _strip(gallery.path, "DELETE FROM feature")
    engine = FakeEngine()
    engine.model = type(engine.model)(**{**vars(engine.model), "features": 0})
    assert enroll_photos(engine, gallery, photos, EnrollOptions()).pictures_completed == 0


def test_merging_completes(gallery: Gallery, noise: object, tmp_path: Path) -> None:
    photos = _photos(noise, 1, 2)
    _enroll(gallery, photos)
    with Gallery(tmp_path / "old.sqlite", FakeEngine().model, create=True) as old:
        _enroll(old, photos, EnrollOptions())
        _strip(old.path, "DELETE FROM feature")
        counts = old.merge(gallery)
        assert (counts.pictures_added, counts.codes_added, counts.pictures_known) == (0, 0, 2)
        assert (old.stats().features, old.stats().kept_pictures) == (12, 2)
        assert verify(old.path) == []


def test_the_command_keeps_completes_and_counts(tmp_path: Path, cat: Image) -> None:
    file, photo = tmp_path / "g.sqlite", tmp_path / "cat.png"
    cv2.imwrite(str(photo), cat)
    arguments = ("enroll", "--gallery", file, "--label", "cat", photo)
    assert run_cli(*arguments, "--no-views").returncode == 0
    _strip(file, "DELETE FROM feature")
    shown = run_cli("gallery", "stats", "--gallery", file)
    assert "1 of 1 codes have no features" in shown.stderr
    done = run_cli(*arguments, "--keep-pictures")
    assert "(1 picture already enrolled, 1 picture completed)" in done.stdout
    assert done.stderr == ""
    stats = json.loads(run_cli("gallery", "stats", "--json", "--gallery", file).stdout)
    assert (stats["features"], stats["kept_pictures"]) == (1, 1)
    assert 5_000 < stats["kept_bytes"] < 60_000


@pytest.mark.slow
def test_views_of_a_kept_picture_are_those_of_the_photo(
    engine: Engine, gallery: Gallery, cat: Image
) -> None:
    with Gallery(gallery.path.with_name("real.sqlite"), engine.model, create=True) as real:
        enroll_image(engine, real, "cat", cat, KEEP)
        codes = [item for _, item in real.content().codes]
    for item, view in zip(codes, views_of(decode_photo(codes[0].picture)), strict=True):
        made = embedding_of(engine, view)
        assert made.features is not None and item.features is not None
        assert unit(made.features) @ unit(item.features.astype(np.float32)) > 0.97
        assert np.bitwise_count(made.code ^ item.code).sum() <= 8
