"""The public API: what is exported, and what a `Recognizer` does."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edge_runtime as er
from edge_runtime.camera.fake import FakeSource
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import CameraLostError, GalleryModelMismatchError, GalleryNotFoundError
from edge_runtime.image import Image
from tests.support.media.clips import write_clip
from tests.support.processes import run_cli

Noise = Callable[[int], Image]


@pytest.fixture
def recognizer(tmp_path: Path, fake_engine: FakeEngine) -> Iterator[er.Recognizer]:
    with er.Recognizer(tmp_path / "gallery.sqlite", engine=fake_engine) as opened:
        yield opened


def _film(noise: Noise, *seeds: int, frames: int = 8) -> list[object]:
    return [noise(seed) for seed in seeds for _ in range(frames)]


# -- what is exported ------------------------------------------------------------------------------


def test_type_checkers_and_python_see_the_same_names() -> None:
    tree = ast.parse(Path(er.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    declared = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(er.__all__) == {*declared, "__version__"}
    assert er.__all__ == sorted(er.__all__)
    for name, module in declared.items():
        assert module is not None
        assert getattr(er, name) is getattr(import_module(module), name)
    assert {name for name in dir(er) if not name.startswith("__")} == {*declared}
    assert {"__version__", "__doc__"} <= set(dir(er))
    with pytest.raises(AttributeError, match="no attribute 'recognizers'"):
        er.recognizers  # noqa: B018


# -- enrollment ------------------------------------------------------------------------------------


def test_a_path_bytes_and_an_array_are_photos(
    recognizer: er.Recognizer, noise: Noise, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), noise(1))
    result = recognizer.enroll("hall", str(path), path.read_bytes(), noise(2))
    assert (result.pictures_added, result.pictures_known, result.faults) == (2, 1, [])
    assert recognizer.enroll("hall", path, noise(2)).pictures_known == 2
    assert recognizer.labels() == {"hall": er.Counts(pictures=2, codes=12)}
    for photo in (path, path.read_bytes(), noise(1)):
        answer = recognizer.query(photo)
        assert (answer.label, answer.distance) == ("hall", 0)
        assert answer.confidence == answer.verdict.confidence > 0
        assert answer.matches[0].source == str(path)
    assert recognizer.query(noise(3)).label is None


def test_a_folder_is_all_its_photos(
    recognizer: er.Recognizer, noise: Noise, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for number, label in enumerate(("hall", "stairs")):
        (folder / label).mkdir(parents=True)
        cv2.imwrite(str(folder / label / "1.png"), noise(number))
    (folder / "stairs" / "2.png").write_bytes(b"not an image")
    assert recognizer.enroll("all", folder / "hall", views=False).pictures_added == 1
    result = recognizer.enroll_folder(folder, views=False)
    assert result.pictures_added == 2
    assert [Path(fault.where).name for fault in result.faults] == ["2.png"]
    assert recognizer.labels() == dict.fromkeys(("all", "hall", "stairs"), er.Counts(1, 1))
    assert recognizer.rename("all", "hall") == (0, 0)  # the same photo is there already
    assert recognizer.rename("stairs", "steps") == (1, 1)
    assert recognizer.labels() == dict.fromkeys(("hall", "steps"), er.Counts(1, 1))
    assert recognizer.remove("steps").codes == 1
    with pytest.raises(er.NotEnrolledError):
        recognizer.remove("stairs")


def test_a_photo_that_cannot_be_used_does_not_stop_the_others(
    recognizer: er.Recognizer, noise: Noise
) -> None:
    broken: list[Any] = [b"nonsense", noise(1).astype(np.float32), noise(1)[:8], noise(1)[..., 0]]
    for photo in broken:
        with pytest.raises(er.PhotoError):
            recognizer.query(photo)
    with pytest.raises(er.PhotoError):
        recognizer.enroll("hall", broken[0], noise(2), views=False)
    assert recognizer.labels() == {"hall": er.Counts(1, 1)}


def test_enrolling_nothing_is_an_error(recognizer: er.Recognizer, tmp_path: Path) -> None:
    with pytest.raises(er.InputError, match="hall: no photos given"):
        recognizer.enroll("hall")
    with pytest.raises(er.NoPhotosError):
        recognizer.enroll("hall", tmp_path)
    with pytest.raises(er.LabelError):
        recognizer.enroll("")
    assert recognizer.labels() == {}


def test_frames_of_a_camera_are_enrolled(recognizer: er.Recognizer, noise: Noise) -> None:
    camera = FakeSource(_film(noise, 1, 2, frames=1))
    assert recognizer.enroll_camera("hall", camera, count=5).pictures_added == 2
    assert camera.closed == 1
    assert recognizer.query(noise(2)).label == "hall"
    camera = FakeSource(_film(noise, 3, frames=1))
    assert recognizer.enroll_camera("stairs", camera, views=False).codes_added == 1
    with pytest.raises(er.InputError, match="count must be at least 1, got 0"):
        recognizer.enroll_camera("hall", camera, count=0)


def test_several_photos_give_one_answer(recognizer: er.Recognizer, noise: Noise) -> None:
    recognizer.enroll("hall", noise(1), noise(2))
    together = recognizer.query_together([noise(1), noise(2), noise(9)])
    assert together.verdict.label == "hall"
    assert [score.label for score in together.label_scores] == ["hall"]


# -- opening and closing ---------------------------------------------------------------------------


def test_a_gallery_opens_for_its_own_model_and_arguments_are_checked(
    recognizer: er.Recognizer, tmp_path: Path, fake_engine: FakeEngine
) -> None:
    with pytest.raises(GalleryModelMismatchError):
        er.Recognizer(recognizer.gallery.path, engine=FakeEngine("other"))
    with pytest.raises(GalleryNotFoundError):
        er.Recognizer(tmp_path / "none.sqlite", engine=fake_engine, read_only=True)
    with pytest.raises(er.InputError, match="900"):
        er.Recognizer(recognizer.gallery.path, engine=fake_engine, radius=900)
    with pytest.raises(er.InputError, match="neighbors must be at least 1, got 0"):
        er.Recognizer(recognizer.gallery.path, engine=fake_engine, neighbors=0)
    with pytest.raises(er.InputError, match="window must be at least 1, got 0"):
        recognizer.watch(FakeSource([]), window=0)


def test_the_engine_is_closed_by_whoever_opened_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Counted(FakeEngine):
        def close(self) -> None:
            closed.append(self.name)

    with er.Recognizer(tmp_path / "a.sqlite", engine=Counted()):
        pass
    assert not closed
    monkeypatch.setattr("edge_runtime.api.open_engine", lambda *_, **__: Counted())
    with er.Recognizer(tmp_path / "a.sqlite") as recognizer:
        recognizer.close()
    assert closed == ["fake"]
    with pytest.raises(GalleryNotFoundError):
        er.Recognizer(tmp_path / "none.sqlite", read_only=True)
    assert closed == ["fake", "fake"]


def test_a_recognizer_refuses_other_threads_and_use_after_close(
    recognizer: er.Recognizer, noise: Noise
) -> None:
    recognizer.enroll("hall", noise(1))
    with ThreadPoolExecutor(1) as pool:
        query = pool.submit(recognizer.query, noise(1))
        with pytest.raises(er.GalleryError, match="opened by another thread"):
            query.result()
    assert recognizer.query(noise(1)).label == "hall"
    recognizer.close()
    recognizer.close()
    with pytest.raises(er.GalleryError, match="closed"):
        recognizer.query(noise(1))


# -- cameras ---------------------------------------------------------------------------------------


def test_each_thing_that_comes_into_view_is_recognized_once(
    recognizer: er.Recognizer, noise: Noise
) -> None:
    recognizer.enroll("hall", noise(1))
    recognizer.enroll("stairs", noise(2))
    film = _film(noise, 1, 2, 3, 1)
    watch = recognizer.watch(FakeSource(film))
    seen = []
    for recognition in watch:
        assert watch.current == recognition
        seen.append(recognition.label)
    assert seen == ["hall", "stairs", "hall"]
    events = [(event.kind, event.label) for event in recognizer.watch(FakeSource(film)).events()]
    assert events == [
        *(("enter", "hall"), ("leave", "hall")),
        *(("enter", "stairs"), ("leave", "stairs")),
        ("enter", "hall"),
    ]


def test_events_and_next_share_one_stream(recognizer: er.Recognizer, noise: Noise) -> None:
    recognizer.enroll("hall", noise(1))
    recognizer.enroll("stairs", noise(2))
    watch = recognizer.watch(FakeSource(_film(noise, 1, 2, 3)))
    assert next(watch).label == "hall"
    assert next(watch).label == "stairs"
    assert [(event.kind, event.label) for event in watch.events()] == [("leave", "stairs")]


def test_options_are_requested_of_the_camera_that_is_enrolled(
    recognizer: er.Recognizer, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested: list[object] = []

    def parse(text: str, options: er.CameraOptions | None) -> er.Source:
        requested.extend((text, options))
        return FakeSource(_film(noise, 1, frames=1))

    monkeypatch.setattr("edge_runtime.api.parse_source", parse)
    options = er.CameraOptions(width=1280, height=720)
    recognizer.enroll_camera("hall", 1, options=options)
    assert requested == ["1", options]


@pytest.mark.parametrize("gate", [True, False])
def test_leaving_the_loop_closes_the_camera(
    recognizer: er.Recognizer, noise: Noise, gate: bool
) -> None:
    recognizer.enroll("hall", noise(1))
    camera = FakeSource(_film(noise, 1, frames=100))
    for recognition in recognizer.watch(camera, gate=gate):
        assert recognition.label == "hall"
        break
    assert camera.closed == 1
    camera = FakeSource(_film(noise, 1, frames=100))
    assert next(recognizer.watch(camera, gate=gate).events()).kind == "enter"
    assert camera.closed == 1


def test_what_is_enrolled_inside_the_loop_counts_at_once(
    recognizer: er.Recognizer, noise: Noise
) -> None:
    recognizer.enroll("hall", noise(1))
    seen = []
    for recognition in recognizer.watch(FakeSource(_film(noise, 1, 2))):
        seen.append(recognition.label)
        if recognition.label == "hall":
            recognizer.enroll("stairs", noise(2))
    assert seen == ["hall", "stairs"]


def test_a_watch_ends_by_stop_by_close_and_with_its_recognizer(
    tmp_path: Path, fake_engine: FakeEngine, noise: Noise
) -> None:
    def endless() -> Iterator[object]:
        while True:
            yield noise(1)

    with er.Recognizer(tmp_path / "gallery.sqlite", engine=fake_engine) as recognizer:
        watch = recognizer.watch(FakeSource(endless()))
        timer = threading.Timer(0.05, watch.stop)
        timer.start()
        assert list(watch) == []
        timer.join()
        recognizer.enroll("hall", noise(1))
        camera = FakeSource(endless())
        with recognizer.watch(camera) as watch:
            assert next(watch).label == "hall"
            assert camera.closed == 0
        assert camera.closed == 1
        assert list(watch) == []
        camera = FakeSource(endless())
        watch = recognizer.watch(camera)
        assert next(watch).label == "hall"
    assert camera.closed == 1
    assert list(watch) == []


def test_a_camera_that_fails_raises(recognizer: er.Recognizer, noise: Noise) -> None:
    recognizer.enroll("hall", noise(1))
    with pytest.raises(er.CameraError, match="nowhere"):
        recognizer.watch("nowhere.mp4")
    with pytest.raises(er.CameraError, match="fake"):
        next(recognizer.watch(FakeSource([])))
    lost = CameraLostError("unplugged", where="fake")
    for live in (True, False):
        seen = []
        with pytest.raises(CameraLostError, match="unplugged"):
            for event in recognizer.watch(_live(noise, lost, live=live)).events():
                seen.append(event.label)
        assert seen == ["hall"]


def test_a_live_camera_that_fails_is_opened_again_on_request(
    recognizer: er.Recognizer, noise: Noise
) -> None:
    recognizer.enroll("hall", noise(1))
    recognizer.enroll("stairs", noise(2))
    lost = CameraLostError("unplugged", where="fake")
    watch = recognizer.watch(_live(noise, lost, live=True), reconnect=True)
    assert [next(watch).label, next(watch).label] == ["hall", "stairs"]
    watch.close()


def test_a_watch_decides_as_the_command_does(tmp_path: Path, engine: er.Engine, cat: Image) -> None:
    gallery, clip = tmp_path / "gallery.sqlite", tmp_path / "clip.mp4"
    write_clip(clip, "chelsea.png")
    with er.Recognizer(gallery, engine=engine) as recognizer:
        recognizer.enroll("cat", cat)
        events = [
            (event.kind, event.label, event.confidence, event.distance, event.sequence)
            for event in recognizer.watch(clip).events()
        ]
    assert events
    done = run_cli("run", "--json", "--camera", clip, "--gallery", gallery)
    *lines, _summary = map(json.loads, done.stdout.splitlines())
    keys = ("kind", "label", "confidence", "distance", "sequence")
    assert [tuple(line[key] for key in keys) for line in lines] == events


def _live(noise: Noise, fault: Exception, *, live: bool) -> FakeSource:
    """A source that shows noise(1) until it is recognized, fails, and then shows noise(2)."""

    def frames(seed: int) -> Iterator[object]:
        for _ in range(8):
            yield noise(seed)
            yield lambda: threading.Event().wait(0.12)  # live: slower than 10 frames per second

    def items() -> Iterator[object]:
        yield from frames(1)
        yield fault
        yield from frames(2)

    return FakeSource(items(), live=live)
