"""The daemon as a process: signals, reload, replacement of the gallery, service manager."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.scenes import read_scene
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
from tests.support.processes import ROOT, patience
from tests.support.service import CONFIG, Process, enroll_near


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of a cat, one second long."""
    path = tmp_path_factory.mktemp("film") / "cat.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (640, 480))
    frame = cv2.resize(read_scene("chelsea.png"), (640, 480))
    for _ in range(20):
        writer.write(np.asarray(frame, np.uint8))
    writer.release()
    return path


@pytest.fixture
def config(tmp_path: Path, film: Path, engine: Engine, cat: Image) -> Path:
    enroll_near(engine, tmp_path / "g.sqlite", cat=cat)
    path = tmp_path / "edge.toml"
    path.write_text(CONFIG.format(film=film))
    return path


@pytest.fixture
def running(config: Path) -> Iterator[Process]:
    process = Process("--config", config)
    yield process
    process.end(signal.SIGKILL)


def test_it_recognizes_and_stops_at_sigterm(running: Process) -> None:
    event = running.until_event("enter", "cat")
    assert event["latency_ms"] > 0
    assert event["frame_time"] < event["time"]
    assert running.end() < 2 * patience()
    assert running.child.returncode == 0, running.log_lines
    assert running.events[-1]["kind"] == "summary"
    assert running.events[-1]["frames"] > 0
    log = "".join(running.log_lines)
    assert log.count("RUNNING after") == 1
    assert log.count("STOPPED after") == 1
    assert "Traceback" not in log


def test_sighup_reloads_and_names_tables_that_need_a_restart(
    running: Process, config: Path, engine: Engine, film: Path
) -> None:
    running.until_event("enter", "cat")
    text = config.read_text()
    config.write_text(text + "fps = -1\n")
    running.child.send_signal(signal.SIGHUP)
    running.until_logged("not reloaded: ")
    running.until_logged("edge.toml:8: camera.fps: expected `float` > 0")
    for bad, what in (("9" * 5000, "a number is too long"), ("{a" + ".a" * 20000, "8 parts")):
        config.write_text(f"{text}fps = {bad}\n")
        running.child.send_signal(signal.SIGHUP)
        running.until_logged(what)
    config.unlink()
    os.mkfifo(config)
    running.child.send_signal(signal.SIGHUP)
    running.until_logged("this is a FIFO")
    config.unlink()
    config.write_text(text + "[model]\nthreads = 2\n[decision]\nradius = 0\nwindow = 1\n")
    running.child.send_signal(signal.SIGHUP)
    running.until_logged("reloaded: decision")
    running.until_logged("needs a restart to take effect: model")
    running.until_event("leave", "cat")  # no code is within 0 bits
    config.write_text(text)
    for _ in range(50):  # many signals at once are harmless
        running.child.send_signal(signal.SIGHUP)
    count = len(running.events)
    running.until(lambda: len(running.events) > count)
    assert running.events[-1]["kind"] == "enter"


class Hook:
    """A web server that receives events. It can be stopped and restarted on the same port."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.tokens: list[str | None] = []
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    def start(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.labels.append(event["label"])
                hook.tokens.append(self.headers["Authorization"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


def test_a_reload_does_not_touch_unchanged_sinks(
    config: Path, hook: Hook, tmp_path: Path, film: Path
) -> None:
    hook.stop()
    config.write_text(config.read_text() + f'[webhook]\nurl = "{hook.url}"\nattempts = 100\n')
    with_hook = Process("--config", config)
    try:
        with_hook.until_logged("no response")  # the event waits
        config.write_text(config.read_text().replace('"json"', '"none"'))
        with_hook.child.send_signal(signal.SIGHUP)
        with_hook.until_logged("reloaded: output")
        hook.start()
        with_hook.until(lambda: hook.labels == ["cat"])
    finally:
        with_hook.end(signal.SIGKILL)


def test_a_reload_reads_the_secrets_again(
    config: Path, hook: Hook, tmp_path: Path, engine: Engine, cat: Image
) -> None:
    (tmp_path / "token").write_text("first\n")
    hooked = f'[webhook]\nurl = "{hook.url}"\ntoken_file = "token"\n'
    config.write_text(config.read_text() + hooked)
    process = Process("--config", config)
    try:
        process.until(lambda: hook.tokens == ["Bearer first"])
        (tmp_path / "token").write_text("second\n")
        process.child.send_signal(signal.SIGHUP)
        process.until_logged("reloaded: webhook")
        with Gallery(tmp_path / "g.sqlite", engine.model) as gallery:
            gallery.relabel("cat", "tom")
        process.until(lambda: hook.labels[-1] == "tom")
        assert hook.tokens[-1] == "Bearer second"
    finally:
        process.end(signal.SIGKILL)


def test_a_camera_that_disappears_and_returns(
    running: Process, config: Path, film: Path, tmp_path: Path
) -> None:
    running.until_event("enter", "cat")
    text = config.read_text()
    config.write_text(text.replace(str(film), "/dev/video97"))
    running.child.send_signal(signal.SIGHUP)
    running.until_logged("DEGRADED after")
    running.until_logged("no such camera device")
    config.write_text(text)
    running.child.send_signal(signal.SIGHUP)
    running.until(lambda: "".join(running.log_lines).count("RUNNING after") == 2)
    assert running.end() < 2 * patience()


def test_a_gallery_that_is_replaced_or_corrupt(
    running: Process, engine: Engine, tmp_path: Path, cat: Image
) -> None:
    running.until_event("enter", "cat")
    other = tmp_path / "other.sqlite"
    enroll_near(engine, other, tom=cat)
    other.replace(tmp_path / "g.sqlite")
    running.until_event("enter", "tom")
    (tmp_path / "corrupt").write_bytes(b"no database at all" * 100)
    (tmp_path / "corrupt").replace(tmp_path / "g.sqlite")
    running.until_logged("corrupt, or not a gallery file")
    enroll_near(engine, other, tim=cat)
    other.replace(tmp_path / "g.sqlite")
    running.until_event("enter", "tim")


def test_changes_of_the_gallery_take_effect(
    running: Process, engine: Engine, tmp_path: Path, cat: Image
) -> None:
    running.until_event("enter", "cat")
    with Gallery(tmp_path / "g.sqlite", engine.model) as gallery:
        gallery.relabel("cat", "tiger")
    running.until_event("enter", "tiger")


def test_the_main_loop_notifies_the_service_manager(config: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        process = Process(
            "--config", config, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000"
        )

        def receive() -> str:
            return manager.recv(4096).decode()

        try:
            while "READY=1" not in receive():
                pass
            for _ in range(3):
                while "WATCHDOG=1" not in receive():
                    pass
            process.child.send_signal(signal.SIGHUP)
            while "RELOADING=1\nMONOTONIC_USEC=" not in receive():
                pass
            while "READY=1" not in receive():
                pass
            process.child.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in receive():
                pass
            process.child.wait(10)
        finally:
            process.end()
        assert process.child.returncode == 0


def test_a_closed_output_pipe_stops_it_quietly(config: Path) -> None:
    script = f"{sys.executable} -m edge_runtime run --config {config} | head -1"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
    )
    assert json.loads(done.stdout.splitlines()[0])["label"] == "cat"
    assert "Traceback" not in done.stderr


# -- parts ------------------------------------------------------------------------------------


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
