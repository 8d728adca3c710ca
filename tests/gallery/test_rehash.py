"""Moving a gallery to another model by means of its kept pictures."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.code import Embedding
from edge_runtime.engine import Engine, open_engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import (
    EnrollOptions,
    enroll_image,
    enroll_photos,
    rehash_gallery,
)
from edge_runtime.errors import (
    GalleryDamagedError,
    GalleryModelMismatchError,
    PicturesMissingError,
    StorageError,
)
from edge_runtime.fitting.layer import HashLayer
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery, LabelData, LabeledCode
from edge_runtime.gallery.backup import backup
from edge_runtime.gallery.features.fitted import write_layer
from edge_runtime.gallery.maintenance import verify
from edge_runtime.gallery.rehash import move
from edge_runtime.image import Image
from edge_runtime.image.decode import decode_photo
from edge_runtime.image.preprocess import views_of
from edge_runtime.position import Position
from edge_runtime.recognition.pipeline import embedding_of
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from tests.support.processes import ROOT, run_cli

KEEP = EnrollOptions(keep_pictures=True)
Noise = Callable[[int], Image]


class OtherEngine(FakeEngine):
    """Another model: it inverts the codes and has other features."""

    def __init__(self, name: str = "other") -> None:
        super().__init__(name)

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        made = super().embed(image, timer)
        assert made.features is not None
        return Embedding(~made.code, made.features[::-1].copy())


class StopError(Exception):
    """Ends an engine in the middle."""


class StoppingEngine(OtherEngine):
    """Fails after a number of pictures."""

    def __init__(self, pictures: int) -> None:
        super().__init__()
        self.left = 6 * pictures

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        if self.left == 0:
            raise StopError
        self.left -= 1
        return super().embed(image, timer)


def _rows(path: Path, table: str, columns: str = "*") -> list[Any]:
    connection = sqlite3.connect(path)
    rows = connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
    connection.close()
    return rows


def _execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def _unchanged(path: Path) -> list[Any]:
    """Return everything that a rehash must keep."""
    items = _rows(path, "item", "id, label_id, source, digest, created_at")
    tables = ("label", "thumbnail", "position", "picture", "sqlite_sequence")
    return [items, *(_rows(path, table) for table in tables)]


def _fill(path: Path, noise: Noise, pictures: int = 4) -> None:
    engine = FakeEngine()
    with Gallery(path, engine.model, create=True) as gallery:
        photos = [(f"label {seed % 3}", noise(seed)) for seed in range(pictures)]
        options = EnrollOptions(keep_pictures=True, position=Position(52.0, 4.0))
        enroll_photos(engine, gallery, photos, options)
        enroll_image(engine, gallery, "frame", noise(1000), KEEP)
        gallery.set_payload("label 0", '{"floor": 3}')
        weight = np.ones((32, 64), np.float32)
        with gallery._writing():
            write_layer(gallery._connection, HashLayer(weight, np.zeros(32, np.float32)), {})


@pytest.fixture
def path(tmp_path: Path, noise: Noise) -> Path:
    _fill(tmp_path / "g.sqlite", noise)
    return tmp_path / "g.sqlite"


def _check_moved(path: Path, engine: Engine) -> None:
    """Check that codes and features are those of `engine` for the kept pictures."""
    assert verify(path) == []
    with Gallery(path, engine.model, read_only=True) as gallery:
        assert gallery.stats().features == gallery.stats().codes
        views: list[Image] = []
        for _, item in gallery.content().codes:
            if item.picture:
                views = views_of(decode_photo(item.picture))
            made = embedding_of(engine, views.pop(0))
            assert made.features is not None and item.features is not None
            assert np.array_equal(item.code, made.code)
            assert np.array_equal(item.features, quantize(made.features))


def test_everything_but_codes_and_features_is_kept(path: Path, noise: Noise) -> None:
    before, generation = _unchanged(path), _rows(path, "generation", "max(number)")[0][0]
    steps: list[float] = []
    outcome = rehash_gallery(OtherEngine(), path)
    assert (outcome.model_changed, outcome.codes, outcome.missing) == (True, 30, {})
    assert outcome.fitted_dropped
    assert _rows(path, "layer") == []
    assert _unchanged(path) == before
    assert _rows(path, "generation", "max(number)")[0][0] == generation + 1
    assert not list(path.parent.glob("*.rehash*")) and not steps
    _check_moved(path, OtherEngine())
    with Gallery(path, OtherEngine().model) as gallery:
        found = gallery.rank(embedding_of(OtherEngine(), noise(2)))
        assert found is not None and found.matches[0].label == "label 2"
        enroll_photos(OtherEngine(), gallery, [("new", noise(77))], KEEP)
        assert gallery.stats().pictures == 6
    assert rehash_gallery(FakeEngine(), path).codes == 36
    assert verify(path) == []


def test_the_same_model_has_nothing_to_do_or_gets_features(path: Path) -> None:
    before = _rows(path, "item")
    outcome = rehash_gallery(FakeEngine(), path)
    assert (outcome.model_changed, outcome.codes, outcome.fitted_dropped) == (False, 0, False)
    _execute(path, "DELETE FROM feature WHERE item_id BETWEEN 5 AND 8")
    _execute(path, "DELETE FROM feature WHERE item_id > 24", "DELETE FROM picture WHERE item_id=1")
    with Gallery(path, FakeEngine().model, read_only=True) as reader:
        assert reader.calibration() is None
        outcome = rehash_gallery(FakeEngine(), path)
        assert (outcome.model_changed, outcome.codes) == (False, 8)
        assert outcome.missing == {"label 0": 1}  # codes 5 and 6
        assert reader.calibration() is None
    assert _rows(path, "item") == before
    assert len(_rows(path, "layer")) == 1
    assert verify(path) == []


def test_pictures_that_were_not_kept_are_named(path: Path, noise: Noise) -> None:
    with Gallery(path, FakeEngine().model) as gallery:
        photos = [("bare", noise(50)), ("bare", noise(51)), ("label 1", noise(52))]
        enroll_photos(FakeEngine(), gallery, photos, EnrollOptions())
        gallery.enroll([LabeledCode("imported", np.array([7], np.uint64))])
        gallery.set_label_data("bare", LabelData('"gone"'))
    before = _unchanged(path), _rows(path, "feature"), _rows(path, "layer")
    with pytest.raises(PicturesMissingError) as caught:
        rehash_gallery(OtherEngine(), path)
    assert "4 of 9 pictures were not kept" in str(caught.value)
    assert "2 of bare, 1 of imported, 1 of label 1" in str(caught.value)
    assert "--drop-missing" in str(caught.value) and caught.value.exit_code == 5
    assert (_unchanged(path), _rows(path, "feature"), _rows(path, "layer")) == before
    outcome = rehash_gallery(OtherEngine(), path, drop_missing=True)
    assert outcome.missing == {"bare": 2, "imported": 1, "label 1": 1}
    with Gallery(path, OtherEngine().model) as gallery:
        assert set(gallery.labels()) == {"frame", "label 0", "label 1", "label 2"}
        assert gallery.stats().pictures == 5
    _check_moved(path, OtherEngine())


def test_a_gallery_without_pictures_is_refused_in_any_case(path: Path) -> None:
    _execute(path, "DELETE FROM picture")
    before = _rows(path, "item")
    for drop in (False, True):
        with pytest.raises(PicturesMissingError, match="5 of 5 pictures were not kept"):
            rehash_gallery(OtherEngine(), path, drop_missing=drop)
    assert _rows(path, "item") == before


def test_views_whose_first_code_was_removed_are_missing(path: Path) -> None:
    with Gallery(path, FakeEngine().model) as gallery:
        gallery.remove(ids=[1, 25, 9])  # two whole pictures, and one view
        gallery.relabel("label 1", "label 2")
    with pytest.raises(PicturesMissingError, match=r"2 of 5 pictures .*1 of frame, 1 of label 0"):
        rehash_gallery(OtherEngine(), path)
    outcome = rehash_gallery(OtherEngine(), path, drop_missing=True)
    assert outcome.codes == 17
    assert verify(path) == []
    with Gallery(path, OtherEngine().model) as gallery:
        codes = dict(gallery.content().codes)
    views = views_of(decode_photo(codes[7].picture))
    assert np.array_equal(codes[10].code, embedding_of(OtherEngine(), views[3]).code)


def test_an_interrupted_call_is_continued(
    path: Path, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "BATCH", 2)
    before = path.read_bytes()
    with pytest.raises(StopError):
        rehash_gallery(StoppingEngine(3), path)
    assert path.read_bytes() == before
    engine = StoppingEngine(3)  # two of the five pictures are in the side file
    with Gallery(path, FakeEngine().model) as gallery:
        gallery.remove(label="frame")
    rehash_gallery(engine, path)
    assert engine.left == 6
    _check_moved(path, OtherEngine())


def test_results_for_another_model_or_of_a_corrupt_side_file_are_not_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "BATCH", 1)
    side = path.with_name("g.sqlite.rehash")
    with pytest.raises(StopError):
        rehash_gallery(StoppingEngine(2), path)
    _execute(side, "UPDATE result SET code = x'0000000000000000' WHERE item_id = 3")
    rehash_gallery(OtherEngine(), path)
    _check_moved(path, OtherEngine())
    side.write_bytes(b"not a database" * 1000)
    rehash_gallery(FakeEngine(), path)
    _check_moved(path, FakeEngine())
    with pytest.raises(StopError):
        rehash_gallery(StoppingEngine(2), path)
    third = OtherEngine("third")
    rehash_gallery(third, path)
    _check_moved(path, third)


def test_changes_during_a_rehash_are_included(path: Path, noise: Noise) -> None:
    class Busy(OtherEngine):
        enrolled = False

        def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
            if not self.enrolled:
                self.enrolled = True
                with Gallery(path, FakeEngine().model) as gallery:
                    enroll_photos(FakeEngine(), gallery, [("late", noise(9))], KEEP)
                    gallery.remove(label="label 2")
            return super().embed(image, timer)

    assert rehash_gallery(Busy(), path).codes == 30
    _check_moved(path, OtherEngine())
    with Gallery(path, OtherEngine().model) as gallery:
        assert set(gallery.labels()) == {"frame", "label 0", "label 1", "late"}


def test_open_galleries_of_the_old_model_say_that_it_changed(path: Path, noise: Noise) -> None:
    old = FakeEngine()
    with Gallery(path, old.model, read_only=True) as reader, Gallery(path, old.model) as writer:
        made = embedding_of(old, noise(1))
        before = reader.search(made.code)
        assert before and writer.search(made.code)
        rehash_gallery(OtherEngine(), path)
        for _ in range(2):
            with pytest.raises(GalleryModelMismatchError, match="while this process used"):
                reader.search(made.code)
        with pytest.raises(GalleryModelMismatchError, match="while this process used"):
            enroll_photos(old, writer, [("wrong", noise(60))], KEEP)
    _check_moved(path, OtherEngine())
    with pytest.raises(GalleryModelMismatchError, match="gallery rehash"):
        Gallery(path, old.model)


def test_a_corrupt_picture_is_reported(path: Path) -> None:
    _execute(path, "UPDATE picture SET jpeg = x'00' WHERE item_id = 7")
    before = _unchanged(path)
    with pytest.raises(GalleryDamagedError, match="kept picture of code 7"):
        rehash_gallery(OtherEngine(), path)
    assert _unchanged(path) == before


def test_a_full_disk_leaves_the_old_gallery(path: Path, small_disk: Path) -> None:
    original, path = path, small_disk / "g.sqlite"
    backup(original, path)
    Gallery(path, FakeEngine().model).close()
    before = _unchanged(path), _rows(path, "item")
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - 8192)))
    with pytest.raises(StorageError):
        rehash_gallery(OtherEngine(), path)
    assert (_unchanged(path), _rows(path, "item")) == before
    assert verify(path) == []
    (small_disk / "filler").unlink()
    path.with_name("g.sqlite.rehash").unlink(missing_ok=True)


REHASH = """
import sys
from pathlib import Path
from edge_runtime.enroll import rehash_gallery
from edge_runtime.gallery.rehash import move
from tests.gallery.test_rehash import OtherEngine
move.BATCH = 3
engine = OtherEngine()
print("ready", flush=True)
rehash_gallery(engine, Path(sys.argv[1]))
print("done", flush=True)
"""
KILLS = int(os.environ.get("EDGE_RUNTIME_KILLS", "20"))


@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_the_old_or_the_new_gallery(
    tmp_path: Path, noise: Noise
) -> None:
    path, original = tmp_path / "g.sqlite", tmp_path / "original.sqlite"
    _fill(path, noise, 30)
    backup(path, original)
    old, kept = _rows(path, "item"), _unchanged(path)
    generator, moved, killed = random.Random(5), 0, 0
    took_s = 0.3
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", REHASH, path], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        began_s = time.monotonic()
        time.sleep(generator.random() * took_s)
        child.send_signal(signal.SIGKILL)
        finished = child.stdout.read() == b"done\n"
        child.stdout.close()
        child.wait()
        killed += not finished
        took_s *= 0.7 if finished else 1.2  # on any machine about half of the calls are killed
        assert time.monotonic() - began_s < 30
        assert verify(path) == []
        assert _unchanged(path) == kept
        with Gallery(path, read_only=True) as gallery:
            model_id = gallery.model_id
        if model_id == OtherEngine().model.id:
            moved += 1
            _check_moved(path, OtherEngine())
            for file in tmp_path.glob("g.sqlite*"):
                file.unlink()
            backup(original, path)
        else:
            assert not finished
            assert _rows(path, "item") == old
    assert killed, "no call was killed before it had finished"
    assert moved, "each call continues where the one before was killed"


@pytest.mark.slow
def test_the_command_moves_photos_to_the_specialist(tmp_path: Path, engine: Engine) -> None:
    from tests.support.scratch import write_scratch

    folder = write_scratch(tmp_path / "scratch")
    file = tmp_path / "g.sqlite"
    specialist = ROOT / "models" / "mobilenet_v1_hash64.onnx"
    enroll = ("enroll", "--gallery", file, folder / "photos")
    assert run_cli(*enroll).returncode == 0
    refused = run_cli("gallery", "rehash", "--gallery", file, "--model", specialist)
    assert refused.returncode == 5
    assert len(refused.stderr.splitlines()) == 1 and "were not kept" in refused.stderr
    assert run_cli(*enroll, "--keep-pictures").returncode == 0
    done = run_cli("gallery", "rehash", "--gallery", file, "--model", specialist)
    assert done.returncode == 0, done.stderr
    assert "moved " in done.stdout
    again = run_cli("gallery", "rehash", "--gallery", file, "--model", specialist)
    assert "nothing to do" in again.stdout
    query = ("query", "--gallery", file, folder / "photo.jpg")
    assert run_cli(*query).returncode == 5
    answer = run_cli(*query, "--model", specialist)
    assert answer.returncode == 0 and "cat" in answer.stdout
    _check_moved(file, open_engine(specialist))
