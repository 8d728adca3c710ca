"""Parts of the daemon: the loop, cameras, sinks, queued work, thermal control, announcements."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.recovery import RetryPolicy, State
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon import loop
from edge_runtime.daemon.gallery_watch import GalleryWatch
from edge_runtime.daemon.thermal import Reading, Thermostat
from edge_runtime.daemon.watcher import CameraWatcher, RegionWatcher
from edge_runtime.daemon.work_queue import WorkQueue
from edge_runtime.engine import Engine
from edge_runtime.errors import BusyError, CameraLostError
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.smoothing import Decider, Origin
from edge_runtime.sinks import ListSink
from edge_runtime.system.logs import RateLimit
from edge_runtime.types import CameraState, Event, Frame, Verdict


def test_stop_ends_the_wait_for_a_frame(
    engine: Engine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MAX_WAIT_S", 600.0)
    forever = threading.Event()
    source = FakeSource([forever.wait], live=True)
    with (
        Gallery(config.with_name("g.sqlite"), engine.model, read_only=True) as gallery,
        CameraSupervisor(source, first_frame_s=60.0) as camera,
    ):
        daemon = loop.Daemon(camera, Pipeline(engine, gallery))
        threading.Timer(0.3, daemon.stop, ["stop requested"]).start()
        daemon.run()
        assert camera.state is State.STARTING  # long before the deadline
        forever.set()


def test_a_lost_camera_ends_what_it_saw(engine: Engine, config: Path, cat: Image) -> None:
    events, entered = ListSink(), threading.Event()
    source = FakeSource([cat, entered.wait, CameraLostError("unplugged")], live=True)
    with (
        Gallery(config.with_name("g.sqlite"), engine.model, read_only=True) as gallery,
        CameraSupervisor(source, policy=RetryPolicy(60.0, 60.0)) as camera,
    ):
        pipeline = Pipeline(engine, gallery)
        daemon = loop.Daemon(camera, pipeline, [events], decider=Decider(window=1))
        daemon.listeners.append(lambda _event: entered.set())
        end_s = time.monotonic() + 30
        while camera.state is not State.DEGRADED and time.monotonic() < end_s:
            daemon.run_once()
    kinds = [(event.kind, event.label, event.reason) for event in events.events]
    assert kinds == [("enter", "cat", ""), ("leave", "cat", "camera lost")]


class _StateSink(ListSink):
    """Records the states of cameras among the events."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def publish(self, event: Event) -> None:
        self.seen.append(f"{event.kind} {event.label} {event.reason}".strip())

    def show(self, camera: CameraState) -> None:
        in_view = ",".join(event.label for event in camera.in_view)
        self.seen.append(f"{camera.state} [{in_view}]")


def test_sinks_follow_the_states_of_cameras_in_order(
    engine: Engine, config: Path, cat: Image
) -> None:
    sink, entered = _StateSink(), threading.Event()
    source = FakeSource([cat, entered.wait, CameraLostError("unplugged")], live=True)
    with (
        Gallery(config.with_name("g.sqlite"), engine.model, read_only=True) as gallery,
        CameraSupervisor(source, policy=RetryPolicy(60.0, 60.0)) as camera,
    ):
        daemon = loop.Daemon(camera, Pipeline(engine, gallery), [sink], decider=Decider(window=1))
        daemon.show_cameras()
        end_s = time.monotonic() + 60
        while "running [cat]" not in sink.seen and time.monotonic() < end_s:
            daemon.run_once()
        entered.set()
        while camera.state is not State.DEGRADED and time.monotonic() < end_s:
            daemon.run_once()
        lost = daemon.camera_states()[0]
    assert sink.seen == [
        "starting []",
        "enter cat",
        "running [cat]",
        "leave cat camera lost",
        "degraded []",
    ]
    assert "unplugged" in lost.reason


def test_what_a_new_configuration_no_longer_watches_leaves(
    engine: Engine, config: Path, cat: Image
) -> None:
    sink, condition = _StateSink(), threading.Condition()
    with Gallery(config.with_name("g.sqlite"), engine.model, read_only=True) as gallery:

        def region(name: str) -> RegionWatcher:
            origin = Origin("", "camera", name)
            return RegionWatcher(Pipeline(engine, gallery), Decider(1, origin=origin))

        kept, gone = region("kept"), region("gone")
        camera = CameraSupervisor(FakeSource([cat] * 3), condition=condition)
        daemon = loop.Daemon([CameraWatcher(camera, [kept, gone])], sinks=[sink])
        daemon.run()
        assert sink.seen == ["enter cat", "enter cat", "running [cat,cat]", "stopped [cat,cat]"]
        daemon.replace([CameraWatcher(camera, [kept])])
        assert sink.seen[4:] == ["leave cat reloaded"]
        other = CameraSupervisor(FakeSource([cat]), condition=condition)
        daemon.replace([CameraWatcher(other, [kept])])  # the same region of another source
        assert sink.seen[5:] == ["leave cat reloaded"]
        assert kept.entered is None


def test_one_camera_that_cannot_work_does_not_end_the_others(
    engine: Engine, config: Path, cat: Image, tmp_path: Path
) -> None:
    condition = threading.Condition()
    with Gallery(config.with_name("g.sqlite"), engine.model, read_only=True) as gallery:
        watchers = [
            CameraWatcher(
                CameraSupervisor(source, condition=condition),
                [RegionWatcher(Pipeline(engine, gallery), Decider(origin=Origin("", name)))],
            )
            for name, source in (
                ("broken", FakeSource([])),
                ("good", FakeSource([cat] * 30)),
                ("other", FakeSource([cat] * 20)),
            )
        ]
        daemon = loop.Daemon(watchers)
        daemon.run()
    assert [each.regions[0].frames for each in watchers] == [0, 30, 20]
    assert "no readable picture" in watchers[0].camera.recovery.fault
    assert daemon.frames == 50


def test_a_deleted_gallery_is_a_fault_until_it_is_back(engine: Engine, config: Path) -> None:
    path = config.with_name("g.sqlite")
    reports: list[Exception] = []
    with Gallery(path, engine.model, read_only=True) as gallery:
        pipeline = Pipeline(engine, gallery)
        watch = GalleryWatch(lambda: [pipeline], engine.model, reports.append)
        watch.check()
        assert watch.fault == ""
        path.rename(path.with_name("away"))
        watch.check()
        assert "was deleted" in watch.fault
        path.with_name("away").rename(path)
        watch.check()
        assert watch.fault == ""
        pipeline.gallery.close()
    assert reports == []


def test_queued_work_runs_on_the_main_loops_thread_and_is_bounded() -> None:
    changed = threading.Condition()
    work_queue = WorkQueue(changed, capacity=2)
    answers: list[object] = []

    def ask(function: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                answers.append(work_queue.run(function))
            except Exception as error:
                answers.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    asking = [ask(threading.get_ident), ask(lambda: 1 // 0)]
    with changed:
        changed.wait_for(lambda: len(work_queue._waiting) == 2, timeout=5)
    with pytest.raises(BusyError):
        work_queue.run(int)
    work_queue.run_one()
    work_queue.run_one()
    work_queue.run_one()
    for thread in asking:
        thread.join()
    assert threading.get_ident() in answers
    assert any(isinstance(answer, ZeroDivisionError) for answer in answers)
    with pytest.raises(BusyError, match="timed out"):
        work_queue.run(int, timeout_s=0.01)
    work_queue.close()
    with pytest.raises(BusyError):
        work_queue.run(int)


def test_a_hot_board_reduces_its_rate_until_it_has_cooled() -> None:
    thermostat = Thermostat(80)
    degrees = [70, 79, 80, 78, 76, 75, 74, 79]
    slow = [thermostat.update(Reading(float(c), ())) for c in degrees]
    assert slow == [False, False, True, True, True, True, False, False]
    assert thermostat.update(Reading(None, ("throttled",)))
    assert not thermostat.update(Reading(None, ()))
    assert not thermostat.update(Reading(None, None))


def _events(film: str, cooldown_s: float) -> list[str]:
    """Return the events of a film: each letter is a label, each frame a second, "." unknown."""
    decider = Decider(window=1, cooldown_s=cooldown_s)
    events = []
    for number, letter in enumerate(film):
        verdict = Verdict(None if letter == "." else letter, 1.0, 3)
        frame = Frame(Picture(np.zeros((1, 1, 3), np.uint8)), number, float(number))
        for event in decider.update(verdict, frame, float(number)):
            events.append(("+" if event.kind == "enter" else "-") + event.label + str(number))
    return events


@pytest.mark.parametrize(
    ("film", "events"),
    [
        ("a.a.a.......a.", ["+a0", "-a1", "+a12", "-a13"]),
        ("a.aaaaaaaaaaaa.", ["+a0", "-a1", "+a10", "-a14"]),
        ("ababab", ["+a0", "-a1", "+b1", "-b2"]),
        ("aaaaaaaaaaaaaaa.", ["+a0", "-a15"]),
    ],
)
def test_a_cool_down_limits_repeated_announcements(film: str, events: list[str]) -> None:
    assert _events(film, 10.0) == events


def test_a_repeated_message_is_rate_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr("edge_runtime.system.logs.time.monotonic", lambda: now_s[0])
    limit, shown = RateLimit(), []
    for number in range(130):
        now_s[0] = float(number)
        record = logging.LogRecord("x", logging.WARNING, "", 0, "no %s", ("paper",), None)
        if limit.filter(record):
            shown.append(record.getMessage())
    assert len(shown) == 15
    assert shown[4:6] == ["no paper", "no paper (55 more times since)"]
