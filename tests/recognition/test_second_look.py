"""A second look, at the middle of a picture that the first look leaves unknown."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.scenes import SCENES, read_scene, write_enrollment_photos
from edge_runtime.code import Code, Embedding
from edge_runtime.engine import Engine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.fitting.calibration import SAME
from edge_runtime.fitting.quantized import unit
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.image import Image
from edge_runtime.image.change_gate import ChangeGate, GateOptions
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.image.photo_files import find_photos
from edge_runtime.image.preprocess import middle_of
from edge_runtime.recognition.pipeline import Pipeline, embedding_of
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer


class CountingEngine(Engine):
    """Counts the runs of the network."""

    threads, name, reason = 1, "counting", "used by a test"

    def __init__(self, engine: Engine) -> None:
        self.engine, self.model, self.runs = engine, engine.model, 0

    def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
        """See `Engine.hash`."""
        return self.embed(image, timer).code

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        """See `Engine.embed`."""
        self.runs += 1
        return self.engine.embed(image, timer)


@pytest.fixture(scope="module")
def folder(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with galleries of the demo's photographs: with views and without."""
    folder = tmp_path_factory.mktemp("galleries")
    write_enrollment_photos(folder / "photos")
    photos = [(path.parent.name, path) for path in find_photos(folder / "photos")]
    for name, views in (("views", True), ("whole", False)):
        with Gallery(folder / name, engine.model, create=True) as gallery:
            chosen = photos if views else photos[::3]
            enroll_photos(engine, gallery, chosen, EnrollOptions(views=views, thumbnails=False))
    return folder


def _framed(name: str) -> Image:
    """A photo in the middle of something else, which fills two thirds of the picture."""
    photo = cv2.resize(read_scene(name), (448, 448))
    side = 800
    noise = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    image: Image = cv2.resize(noise, (side, side), interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
    edge = (side - 448) // 2
    image[edge : edge + 448, edge : edge + 448] = photo
    return image


SCENE = next(scene for scene in SCENES if scene.label == "wall clock")


def test_a_thing_in_the_middle_is_found(engine: Engine, folder: Path) -> None:
    image, counting = _framed(SCENE.enrolled or SCENE.photo), CountingEngine(engine)
    with Gallery(folder / "views", engine.model) as gallery:
        once = Pipeline(counting, gallery, second_look=False).query(image)
        assert (once.label, once.looks, counting.runs) == (None, 1, 1)
        twice = Pipeline(counting, gallery).query(image)
        assert (twice.label, twice.looks, counting.runs) == (SCENE.label, 2, 3)
        assert twice.matches[0].label == SCENE.label
        one = Pipeline(counting, gallery).look(image)  # of several images of one thing
        assert (one.verdict, one.looks, counting.runs) == (once.verdict, 1, 4)


def test_a_picture_that_is_known_is_looked_at_once(engine: Engine, folder: Path) -> None:
    counting = CountingEngine(engine)
    with Gallery(folder / "views", engine.model) as gallery:
        found = Pipeline(counting, gallery).query(read_scene(SCENE.enrolled or SCENE.photo))
    assert (found.label, found.looks, counting.runs) == (SCENE.label, 1, 1)


def test_no_second_look_where_nothing_is_known_about_one(engine: Engine, folder: Path) -> None:
    image, counting = _framed(SCENE.photo), CountingEngine(engine)
    with Gallery(folder / "whole", engine.model) as gallery:
        assert Pipeline(counting, gallery).query(image).looks == 1
    with Gallery(folder / "views", engine.model) as gallery:
        assert Pipeline(counting, gallery, radius=3).query(image).looks == 1
    assert counting.runs == 2


def test_the_label_unknown_is_an_answer(engine: Engine, folder: Path, tmp_path: Path) -> None:
    image, counting = _framed(SCENE.photo), CountingEngine(engine)
    shutil.copy(folder / "views", tmp_path / "g")
    with Gallery(tmp_path / "g", engine.model) as gallery:
        enroll_photos(engine, gallery, [(UNKNOWN, image)], EnrollOptions(thumbnails=False))
        found = Pipeline(counting, gallery).query(image)
    assert (found.label, found.looks, counting.runs) == (None, 1, 1)


def test_a_label_is_as_similar_as_in_the_better_look(engine: Engine, folder: Path) -> None:
    image = _framed(SCENE.photo)
    looks = [embedding_of(engine, view) for view in (image, middle_of(image))]
    with Gallery(folder / "views", engine.model) as gallery:
        alone = [gallery.rank(look, 100) for look in looks]
        both = gallery.find(looks[0], 100, closer=looks[1])
    assert alone[0] is not None and alone[1] is not None and not isinstance(both, tuple)
    best: dict[str, float] = {}
    for one in itertools.chain(alone[0].labels, alone[1].labels):
        best[one.label] = max(best.get(one.label, -1.0), one.similarity)
    assert {one.label: one.similarity for one in both.labels} == best
    values = [one.similarity for one in both.labels]
    assert values == sorted(values, reverse=True)
    assert len({(match.id - 1) // 6 for match in both.matches}) == len(both.matches)
    assert [match.similarity for match in both.matches] == sorted(
        (match.similarity or 0 for match in both.matches), reverse=True
    )


def test_the_calibration_of_two_looks_is_that_of_the_better_one(
    engine: Engine, folder: Path
) -> None:
    with Gallery(folder / "views", engine.model) as gallery:
        calibration = gallery.calibration()
        assert calibration is not None and calibration.closer is not None
        index = gallery._memory.index
        assert index is not None
        rows, owners = unit(index.values), index.snapshot.label_ids
        first, second = index.first_rows(), index.second_rows()
    assert second is not None and (second == first + 1).all()
    expected = []
    for looks in ([first], [first, second]):
        values = []
        for place, row in enumerate(first):
            similar = []
            for label in set(owners.tolist()) - {int(owners[row])}:
                own = rows[owners == label]
                for look in looks:
                    query = rows[look[place]]
                    nearest, mean = float((own @ query).max()), own.mean(axis=0)
                    to_mean = float(mean @ query) / float(np.linalg.norm(mean))
                    similar.append((nearest + to_mean) / 2 if nearest < SAME else 1.0)
            values.append(max(similar))
        expected.append(float(np.mean([value for value in values if value < SAME])))
    assert calibration.stranger_mean == pytest.approx(expected[0], abs=2e-3)
    assert calibration.closer.stranger_mean == pytest.approx(expected[1], abs=2e-3)
    assert calibration.threshold() < calibration.closer.threshold()
    with Gallery(folder / "whole", engine.model) as gallery:
        whole = gallery.calibration()
    assert whole is not None and whole.closer is None and whole.of_looks(2) is whole


def test_a_still_camera_looks_again_at_the_next_frame(engine: Engine, folder: Path) -> None:
    image, counting = _framed(SCENE.enrolled or SCENE.photo), CountingEngine(engine)
    other = np.zeros_like(image)
    with Gallery(folder / "views", engine.model) as gallery:
        pipeline = Pipeline(counting, gallery, gate=ChangeGate(GateOptions(settle_frames=1)))
        runs, found = [], []
        for frame in (image, image, image, other, image, image):
            before = counting.runs
            found.append(pipeline.query_frame(Picture(frame)))
            runs.append(counting.runs - before)
        assert [each.label for each in found] == [
            None, SCENE.label, SCENE.label, None, None, SCENE.label
        ]  # fmt: skip
        assert [each.looks for each in found] == [1, 2, 2, 1, 1, 2]
        assert runs == [1, 1, 0, 1, 1, 1]  # never two for one frame
        pipeline = Pipeline(
            counting, gallery, gate=ChangeGate(GateOptions(settle_frames=1)), second_look=False
        )
        assert [pipeline.query_frame(Picture(image)).looks for _ in range(3)] == [1, 1, 1]
        assert pipeline.with_gate(None).query_frame(Picture(image)).looks == 1
