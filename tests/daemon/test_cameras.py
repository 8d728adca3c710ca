"""Several cameras and regions in one daemon: a real process with real films."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.scenes import read_scene
from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon import Daemon
from edge_runtime.daemon.cameras import Cameras, close_all
from edge_runtime.daemon.watcher import CameraWatcher, RegionWatcher
from edge_runtime.engine import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import enroll_image
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Decider, Origin
from edge_runtime.settings.read import parse_settings
from edge_runtime.types import Frame
from tests.support.service import Process
from tests.support.web import Client

SIZE = (320, 240)
HEAD = """\
gallery.path = "g.sqlite"
output.format = "json"
board.name = "hall"
[http]
port = 0
requests_per_minute = 100000
"""


def _film(path: Path, image: Image) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, SIZE)
    for _ in range(10):
        writer.write(np.asarray(cv2.resize(image, SIZE), np.uint8))
    writer.release()


@pytest.fixture(scope="module")
def scenes() -> dict[str, Image]:
    names = {"cat": "chelsea.png", "cup": "coffee.png"}
    return {
        label: np.asarray(cv2.resize(read_scene(name), SIZE), np.uint8)
        for label, name in names.items()
    }


@pytest.fixture
def folder(tmp_path: Path, engine: Engine, scenes: dict[str, Image]) -> Path:
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        for label, image in scenes.items():
            enroll_image(engine, gallery, label, image)
    for label, image in scenes.items():
        _film(tmp_path / f"{label}.mp4", image)
    _film(tmp_path / "both.mp4", np.hstack(list(scenes.values())))
    return tmp_path


def _camera(name: str, film: str) -> str:
    return (
        f'[cameras.{name}]\nsource = "{film}"\nloop = true\nreal_time = true\n'
        "next_frame_s = 60\nretry_shortest_s = 0.2\n"
    )


def _write(folder: Path, *tables: str) -> Path:
    path = folder / "edge.toml"
    path.write_text("\n".join([HEAD, *tables]))
    return path


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.end()


def _start(processes: list[Process], path: Path) -> tuple[Process, Client]:
    process = Process("--config", path)
    processes.append(process)
    return process, Client(process)


def _places(process: Process) -> set[tuple[str, str | None, str]]:
    entered = [each for each in list(process.events) if each["kind"] == "enter"]
    return {(each["camera"], each["region"], each["label"]) for each in entered}


def test_two_cameras_share_a_gallery_and_have_their_own_events(
    folder: Path, processes: list[Process]
) -> None:
    path = _write(folder, _camera("left", "cat.mp4"), _camera("right", "cup.mp4"))
    process, site = _start(processes, path)
    process.until(lambda: _places(process) == {("left", None, "cat"), ("right", None, "cup")})
    assert {each["board"] for each in process.events} == {"hall"}
    assert len({each["id"] for each in process.events}) == len(process.events)
    cameras = site.ask("GET", "/api/status").json()["cameras"]
    assert [each["name"] for each in cameras] == ["left", "right"]
    for name in ("left", "right"):
        assert site.ask("GET", f"/frame.jpg?camera={name}").status == 200
    # One gallery: a label that is removed leaves the view of its camera alone.
    assert site.ask("DELETE", "/api/labels/cup").status == 200
    gone = process.until_event("leave", "cup")
    assert gone["camera"] == "right" and gone["reason"] == ""
    assert not any(each["kind"] == "leave" and each["label"] == "cat" for each in process.events)


def test_regions_of_one_camera_have_labels_and_events_of_their_own(
    folder: Path, processes: list[Process]
) -> None:
    path = _write(
        folder,
        _camera("shelf", "both.mp4"),
        '[regions.a]\narea = [0, 0, 0.5, 1]\nlabels = ["cat", "not enrolled", "a/b"]',
        '[regions.b]\narea = [0.5, 0, 0.5, 1]\nlabels = ["cup"]',
        '[regions.none]\narea = [0.5, 0, 0.5, 1]\nlabels = ["cat"]',
        '[regions.nothing]\nlabels = ["not enrolled"]',
    )
    process, site = _start(processes, path)
    process.until(lambda: {("shelf", "a", "cat"), ("shelf", "b", "cup")} <= _places(process))
    regions = site.ask("GET", "/api/status").json()["cameras"][0]["regions"]
    process.until(lambda: all(each["age_s"] is not None for each in regions))
    assert [each["name"] for each in regions] == ["a", "b", "none", "nothing"]
    # The cup is not named a cat where only cats may be, and labels that are missing break nothing.
    assert ("shelf", "none", "cat") not in _places(process)
    assert not any(place[1] == "nothing" for place in _places(process))
    said = [line for line in process.log_lines if "not in the gallery" in line]
    assert len(said) == 2 and "not enrolled, a/b" in "".join(said)
    assert site.ask("GET", "/api/status").json()["faults"] == 0


@pytest.mark.slow
def test_a_label_that_is_enrolled_later_is_recognized_in_its_region(
    folder: Path, processes: list[Process]
) -> None:
    path = _write(folder, _camera("shelf", "cat.mp4"), '[regions.a]\nlabels = ["tom"]')
    process, site = _start(processes, path)
    process.until_logged("not in the gallery, and so not recognized: tom")
    process.until(lambda: site.region()["age_s"] is not None)
    assert site.ask("POST", "/api/labels/tom/frame").status == 201
    assert process.until_event("enter", "tom")["region"] == "a"


@pytest.mark.slow
def test_a_dead_camera_disturbs_none(folder: Path, processes: list[Process]) -> None:
    dead = '[cameras.dead]\nsource = "http://127.0.0.1:9/none"\nretry_shortest_s = 0.2\n'
    path = _write(folder, dead, _camera("right", "cup.mp4"))
    process, site = _start(processes, path)
    assert process.until_event("enter", "cup")["camera"] == "right"

    def dead_now() -> bool:
        cameras = {each["name"]: each for each in site.ask("GET", "/api/status").json()["cameras"]}
        return bool(cameras["dead"]["fault"]) and bool(cameras["right"]["fresh"])

    process.until(dead_now)
    site.until_ready()
    assert {each["camera"] for each in process.events} == {"right"}


def test_a_reload_adds_and_removes_without_touching_the_others(
    folder: Path, processes: list[Process]
) -> None:
    path = _write(folder, _camera("left", "cat.mp4"), _camera("gone", "cup.mp4"))
    process, site = _start(processes, path)
    process.until(lambda: {("left", None, "cat"), ("gone", None, "cup")} <= _places(process))
    before = site.ask("GET", "/api/status").json()["cameras"][0]
    _write(
        folder,
        _camera("left", "cat.mp4"),
        _camera("new", "both.mp4"),
        '[regions.b]\ncamera = "new"\narea = [0.5, 0, 0.5, 1]\nlabels = ["cup"]',
    )
    process.child.send_signal(signal.SIGHUP)
    process.until(lambda: ("new", "b", "cup") in _places(process))
    after = site.ask("GET", "/api/status").json()["cameras"]
    assert [each["name"] for each in after] == ["left", "new"]
    assert after[0]["state_s"] >= before["state_s"] and after[0]["restarts"] == 0  # stayed open
    process.until(
        lambda: any(e["kind"] == "leave" and e["camera"] == "gone" for e in list(process.events))
    )
    # A second region is added: the first goes on, with what it sees.
    with path.open("a") as file:
        file.write('\n[regions.a]\ncamera = "new"\narea = [0, 0, 0.5, 1]\nlabels = ["cat"]\n')
    process.child.send_signal(signal.SIGHUP)
    process.until(lambda: ("new", "a", "cat") in _places(process))
    events = Counter(
        (each["camera"], each["region"], each["kind"]) for each in list(process.events)
    )
    assert events["left", None, "enter"] == 1 and events["left", None, "leave"] == 0
    assert events["new", "b", "enter"] == 1 and events["new", "b", "leave"] == 0


def test_a_camera_with_another_source_shows_nothing_of_the_earlier_one(
    folder: Path, cat: Image
) -> None:
    """Its last frame was enrolled under the new source until that had delivered one."""
    engine = FakeEngine()
    one, other = (
        parse_settings("\n".join([_camera("left", f"{folder}/cat.mp4"), _camera("right", right)]))
        for right in (f"{folder}/cup.mp4", f"{folder}/both.mp4")
    )
    with Gallery(folder / "f.sqlite", engine.model, create=True) as gallery:
        pipeline = Pipeline(engine, gallery)
        cameras = Cameras(one)
        try:
            before = cameras.open(one, pipeline, "hall")
            for watcher in before:
                watcher.regions[0].step(Frame(Picture(cat), 0, time.monotonic()))
            after = cameras.prepare(other, pipeline, "hall").apply(5.0)
        finally:
            close_all([each.camera for each in cameras.watchers], 5.0)
    assert [each.name for each in after] == ["left", "right"]
    assert after[0].regions == before[0].regions  # stayed open, and continues with what it saw
    assert after[1].regions[0].latest is None


def test_no_camera_starves(tmp_path: Path, cat: Image) -> None:
    """Three cameras that always have a frame take turns, however fast one of them is."""
    engine = FakeEngine()
    frames = [np.asarray(cv2.resize(cat, (32, 32)), np.uint8)] * 400
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        pipeline = Pipeline(engine, gallery)
        first = CameraSupervisor(FakeSource(frames))
        cameras = [first] + [
            CameraSupervisor(FakeSource(frames), condition=first.condition) for _ in range(2)
        ]
        daemon = Daemon(
            [
                CameraWatcher(
                    camera,
                    [RegionWatcher(pipeline.for_labels(None), Decider(origin=Origin("b", name)))],
                )
                for name, camera in zip("abc", cameras, strict=True)
            ]
        )
        served: list[str] = []
        daemon.observers.append(lambda seen: served.append(seen.origin.camera))
        try:
            end_s = time.monotonic() + 60
            while len(set(served)) < 3 and time.monotonic() < end_s:
                daemon.run_once()  # opens the cameras
            served.clear()
            while len(served) < 300 and time.monotonic() < end_s:
                if all(camera.ready() for camera in cameras):  # none is chosen for its speed
                    daemon.run_once()
                else:
                    time.sleep(0.001)
        finally:
            for camera in cameras:
                camera.close()
    assert Counter(served[:300]) == {"a": 100, "b": 100, "c": 100}
    assert all(len(set(served[i : i + 3])) == 3 for i in range(0, 300, 3))
