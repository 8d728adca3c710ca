"""The daemon as a process: signals, reload, replacement of the gallery, service manager."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_runtime.engine import Engine
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.lookup.compiled import hamming
from tests.support.processes import ROOT, patience
from tests.support.service import Process, enroll_near


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


@pytest.mark.skipif(hamming is None, reason="built without a C compiler")
def test_it_starts_again_if_the_shared_memory_of_its_gallery_is_cut(
    running: Process, config: Path, engine: Engine, film: Path
) -> None:
    running.until_event("enter", "cat")
    count, gallery = len(running.events), config.parent / "g.sqlite"
    os.truncate(f"{gallery}-shm", 0)
    running.until(lambda: [e for e in running.events[count:] if e["kind"] == "enter"])
    assert "".join(running.log_lines).count("(starting again)") == 1
    with Gallery(gallery, engine.model) as changed:
        changed.relabel("cat", "dog")
    running.until_event("enter", "dog")
    running.end()
    assert running.child.returncode == 0, running.log_lines


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
