"""Two hundred faults in one run: does the daemon live, and come back from each?

    python -m profiles.bench.faults [--faults N] [--out FILE]

A real `edge-runtime run` watches a network camera that this program serves, and reports to a web
server of this program's. The faults: the camera is unplugged, hangs, sends garbage, cuts pictures
off, changes its size; the web server dies, fails, hangs; the gallery is replaced by another, ruined
and restored; its disk fills up; SIGHUP storms. After each the daemon must be ready, and make
recognitions, within its bound. Exit code 9: it did not, or an event was lost without being counted.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import click
import cv2
import numpy as np

from demo.scenes import read_scene
from edge_runtime.cli.common import progress_bar
from edge_runtime.errors import EXIT_CHECK_FAILED, ReportError
from edge_runtime.system.device import read_device
from profiles.bench.support.harness import CONFIG, Running, enrol
from profiles.bench.support.results import deliver

BOUND_S = 15.0
"""From the end of a fault to a recognition. The longest pause between restarts is 2 s here, and
FFmpeg gives up on an address that does not answer after 8 s."""
LENGTH_S = 1.2
"""A fault lasts at least so long; `next_frame_s` is 1 s here."""
SETTINGS = """
[camera]
source = "{camera}"
first_frame_s = 3.0
next_frame_s = 1.0
retry_shortest_s = 0.1
retry_longest_s = 2.0
retry_budget = 1000
[webhook]
url = "{hook}"
timeout_s = 0.5
attempts = 3
queue = 5
"""


class Camera(BaseHTTPRequestHandler):
    """An IP camera that does as it is told."""

    mood: ClassVar[str] = "well"
    alternate: ClassVar[bool] = False
    """It sees now this, now that, so that events are made."""
    pictures: ClassVar[dict[tuple[bool, bool], bytes]] = {}

    def do_GET(self) -> None:
        """Serve Motion JPEG for as long as the mood lasts."""
        if Camera.mood == "unplugged":
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            number = 0
            while Camera.mood != "unplugged":
                self._send(number)
                number += 1
                time.sleep(0.05)
        except OSError:  # the daemon has hung up
            pass

    def _send(self, number: int) -> None:
        mood = Camera.mood
        if mood == "hangs":
            return
        other = Camera.alternate and int(time.monotonic() / 0.7) % 2 == 1
        data = Camera.pictures[(other, mood == "resized")]
        if mood == "garbage":
            data = random.Random(number).randbytes(len(data))
        elif mood == "cut off":
            data = data[: len(data) // 3]
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Hook(BaseHTTPRequestHandler):
    """A web server that does as it is told."""

    mood: ClassVar[str] = "well"
    taken: ClassVar[int] = 0

    def do_POST(self) -> None:
        """Take an event, or not."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if Hook.mood == "hangs":
            time.sleep(1.0)
            return
        if Hook.mood == "dead":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        Hook.taken += Hook.mood == "well"
        self.send_response(204 if Hook.mood == "well" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Faults:
    """Each method is a fault that begins, lasts, and is over when it returns."""

    def __init__(self, daemon: Running, folder: Path) -> None:
        self._daemon = daemon
        self._gallery = folder / "g.sqlite"
        self._copy = folder / "copy.sqlite"
        shutil.copy(self._gallery, self._copy)
        self.all: dict[str, Callable[[], None]] = {
            **{
                f"camera {mood}": self._camera(mood)
                for mood in ("unplugged", "hangs", "garbage", "cut off", "resized")
            },
            **{f"sink {mood}": self._hook(mood) for mood in ("dead", "fails", "hangs")},
            "gallery replaced": self._replace,
            "gallery ruined": self._ruin,
            "disk full": self._fill,
            "SIGHUP storm": self._storm,
        }

    def _camera(self, mood: str) -> Callable[[], None]:
        def act() -> None:
            Camera.mood = mood
            time.sleep(LENGTH_S)
            Camera.mood = "well"

        return act

    def _hook(self, mood: str) -> Callable[[], None]:
        def act() -> None:
            Hook.mood, Camera.alternate = mood, True
            time.sleep(2 * LENGTH_S)
            Hook.mood, Camera.alternate = "well", False

        return act

    def _replace(self) -> None:
        fresh = self._gallery.with_name("fresh.sqlite")
        shutil.copy(self._copy, fresh)
        fresh.replace(self._gallery)
        time.sleep(LENGTH_S)

    def _ruin(self) -> None:
        ruin = self._gallery.with_name("ruin")
        ruin.write_bytes(os.urandom(5000))
        ruin.replace(self._gallery)
        time.sleep(LENGTH_S)
        self._replace()

    def _fill(self) -> None:
        """The disk has no byte left; what is asked of it meanwhile is refused, not lost."""
        ballast = self._gallery.with_name("ballast")
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 14)):
                    pass
            except OSError:
                pass
        refused = 0
        for number in range(40):
            code, _ = self._daemon.ask(f"/api/labels/full{number}/frame", "POST")
            refused += code == 507
            if refused:
                break
        ballast.unlink()
        if not refused:
            raise ReportError("a full disk was not noticed")
        for number in range(40):
            self._daemon.ask(f"/api/labels/full{number}", "DELETE")

    def _storm(self) -> None:
        for _ in range(50):
            self._daemon.child.send_signal(signal.SIGHUP)
            time.sleep(0.01)


def inject(faults: int, progress: Callable[[float], None] = lambda _share: None) -> dict[str, Any]:
    """The report of a run with so many faults."""
    for other, name in ((False, "chelsea.png"), (True, "coffee.png")):
        for resized, size in ((False, (640, 480)), (True, (800, 450))):
            image = np.asarray(cv2.resize(read_scene(name), size), np.uint8)
            Camera.pictures[(other, resized)] = cv2.imencode(".jpg", image)[1].tobytes()
    with (
        _small_disk() as folder,
        _serve(Camera) as camera,
        _serve(Hook) as hook,
    ):
        enrol(folder / "g.sqlite")
        settings = SETTINGS.format(camera=f"{camera}/video.mjpg", hook=f"{hook}/hook")
        daemon = Running(folder, CONFIG + settings)
        try:
            return _run(daemon, Faults(daemon, folder), faults, progress)
        finally:
            daemon.end()


def _run(
    daemon: Running, faults: Faults, count: int, progress: Callable[[float], None]
) -> dict[str, Any]:
    daemon.until(lambda: _sees(daemon, "cat", 0), 30)
    names = list(faults.all)
    order = [names[number % len(names)] for number in range(count)]
    random.Random(5).shuffle(order)
    took_s: dict[str, list[float]] = {name: [] for name in names}
    for number, name in enumerate(order):
        faults.all[name]()
        try:
            took_s[name].append(_recovery_s(daemon))
        except ReportError as error:
            raise ReportError(
                f"fault {number + 1}, {name}: {error}: {daemon.ask('/api/status')}"
            ) from error
        progress((number + 1) / count)
    daemon.until(lambda: not daemon.status()["sinks"]["webhook"]["waiting"], 30)
    status = daemon.status()
    sink = status["sinks"]["webhook"]
    counted = sink["published"] == sink["delivered"] + sink["dropped"] + sink["failed"]
    ended_s = daemon.end()
    return {
        "faults": count,
        "kinds": dict(Counter(order)),
        "recovered": sum(map(len, took_s.values())),
        "bound_s": BOUND_S,
        "slowest_s": {name: max(times) for name, times in took_s.items() if times},
        "restarts": status["camera"]["restarts"],
        "hung": status["camera"]["hung"],
        "frames": status["frames"],
        "events": sink,
        "events_taken_by_server": Hook.taken,
        "ended_s": ended_s,
        "ended_cpu_s": daemon.end_cpu_s,
        "exit_code": daemon.child.returncode,
        # An event that the server took while the daemon gave up waiting counts as failed, too.
        "met": counted and Hook.taken >= sink["delivered"] and daemon.child.returncode == 0,
    }


def _recovery_s(daemon: Running) -> float:
    """Seconds until a frame from now on is recognised; raises `ReportError` beyond the bound."""
    frames = daemon.status()["frames"]
    return daemon.until(lambda: _sees(daemon, "cat", frames), BOUND_S)


def _sees(daemon: Running, label: str, after: int) -> bool:
    code, status = daemon.ask("/api/status")
    if code != 200 or not status["ready"] or status["frames"] <= after:
        return False
    held = status["recognition"]
    return held is not None and held["label"] == label


class _small_disk:  # noqa: N801  (a context manager)
    """A folder on a real file system of 6 MB, where we may mount one; else any folder."""

    def __enter__(self) -> Path:
        self._folder = Path(tempfile.mkdtemp(prefix="edge-faults-"))
        command = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(self._folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise ReportError("may not mount a small file system", remedy="run it as root")
        return self._folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self._folder], check=False)
        self._folder.rmdir()


class _serve:  # noqa: N801
    """A handler on a port of its own."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        Camera.mood = "unplugged"
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        Camera.mood = "well"


@click.command()
@click.option("--faults", type=click.IntRange(1), default=200, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(faults: int, out: Path | None) -> None:
    """Hurt the daemon."""
    with progress_bar("hurting", 1.0) as advance:
        done = 0.0

        def progress(share: float) -> None:
            nonlocal done
            advance(share - done)
            done = share

        report = {"device": asdict(read_device()), **inject(faults, progress)}
    deliver(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
