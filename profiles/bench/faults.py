"""Inject two hundred faults into a running daemon and check that it recovers from each.

Then let the disk below a gallery fail three hundred times (storage_faults.py).

    python -m profiles.bench.faults [--faults N] [--out FILE]

An `edge-runtime run` process watches a network camera and reports to a web server, both of which
this program serves. The faults: the camera is unplugged, hangs, sends garbage, truncates frames or
changes their size; the web server dies, fails or hangs; the gallery is replaced, or ruined and
restored; its disk fills up; a storm of SIGHUPs arrives. After each fault the daemon must be ready
and recognize frames within a time limit. Exit code 9: it did not, or an event was lost without
being counted. The full disk needs root, to mount a small file system.
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
from profiles.bench.storage_faults import inject_storage_faults
from profiles.bench.support.harness import CONFIG, DaemonProcess, enroll_scenes
from profiles.bench.support.results import write_report

BOUND_S = 15.0
"""Limit from the end of a fault to a recognition. The longest pause between restarts is 2 s here,
and FFmpeg gives up on an unresponsive address after 8 s."""
MOST_ENROLLED = 200
"""Pictures that are enrolled on a full disk at most; pages that were freed before take some."""
FAULT_S = 1.2
"""Shortest duration of a fault; `next_frame_s` is 1 s here."""
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
    """An IP camera whose class attribute `mode` selects its behavior."""

    mode: ClassVar[str] = "normal"
    alternate: ClassVar[bool] = False
    """Alternate between two scenes, so that events occur."""
    pictures: ClassVar[dict[tuple[bool, bool], bytes]] = {}

    def do_GET(self) -> None:
        """Serve Motion JPEG until the camera is unplugged."""
        if Camera.mode == "unplugged":
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            number = 0
            while Camera.mode != "unplugged":
                self._send(number)
                number += 1
                time.sleep(0.05)
        except OSError:  # the daemon has closed the connection
            pass

    def _send(self, number: int) -> None:
        mode = Camera.mode
        if mode == "hangs":
            return
        other = Camera.alternate and int(time.monotonic() / 0.7) % 2 == 1
        data = Camera.pictures[(other, mode == "resized")]
        if mode == "garbage":
            data = random.Random(number).randbytes(len(data))
        elif mode == "cut off":
            data = data[: len(data) // 3]
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Hook(BaseHTTPRequestHandler):
    """A web server whose class attribute `mode` selects its behavior."""

    mode: ClassVar[str] = "normal"
    accepted: ClassVar[int] = 0

    def do_POST(self) -> None:
        """Accept or refuse an event, depending on the mode."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if Hook.mode == "hangs":
            time.sleep(1.0)
            return
        if Hook.mode == "dead":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        Hook.accepted += Hook.mode == "normal"
        self.send_response(204 if Hook.mode == "normal" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Faults:
    """The faults by name. Each is a function that returns when the fault is over."""

    def __init__(self, daemon: DaemonProcess, folder: Path) -> None:
        self._daemon = daemon
        self._gallery = folder / "g.sqlite"
        self._copy = folder / "copy.sqlite"
        shutil.copy(self._gallery, self._copy)
        self.all: dict[str, Callable[[], None]] = {
            **{
                f"camera {mode}": self._camera(mode)
                for mode in ("unplugged", "hangs", "garbage", "cut off", "resized")
            },
            **{f"sink {mode}": self._hook(mode) for mode in ("dead", "fails", "hangs")},
            "gallery replaced": self._replace,
            "gallery ruined": self._ruin,
            "disk full": self._fill,
            "SIGHUP storm": self._storm,
        }

    def _camera(self, mode: str) -> Callable[[], None]:
        def act() -> None:
            Camera.mode = mode
            time.sleep(FAULT_S)
            Camera.mode = "normal"

        return act

    def _hook(self, mode: str) -> Callable[[], None]:
        def act() -> None:
            Hook.mode, Camera.alternate = mode, True
            time.sleep(2 * FAULT_S)
            Hook.mode, Camera.alternate = "normal", False

        return act

    def _replace(self) -> None:
        fresh = self._gallery.with_name("fresh.sqlite")
        shutil.copy(self._copy, fresh)
        fresh.replace(self._gallery)
        time.sleep(FAULT_S)

    def _ruin(self) -> None:
        ruin = self._gallery.with_name("ruin")
        ruin.write_bytes(os.urandom(5000))
        ruin.replace(self._gallery)
        time.sleep(FAULT_S)
        self._replace()

    def _fill(self) -> None:
        """Fill the disk. Enrollments must be refused with status 507 until there is space again."""
        ballast = self._gallery.with_name("ballast")
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 14)):
                    pass
            except OSError:
                pass
        codes: list[int] = []
        while len(codes) < MOST_ENROLLED and 507 not in codes:
            code, _ = self._daemon.request(f"/api/labels/full{len(codes)}/frame", "POST")
            codes.append(code)
        ballast.unlink()
        if 507 not in codes:
            raise ReportError(f"the daemon did not report the full disk: {Counter(codes)}")
        for number in range(len(codes)):
            self._daemon.request(f"/api/labels/full{number}", "DELETE")

    def _storm(self) -> None:
        for _ in range(50):
            self._daemon.child.send_signal(signal.SIGHUP)
            time.sleep(0.01)


def inject(faults: int, progress: Callable[[float], None] = lambda _share: None) -> dict[str, Any]:
    """Run the given number of faults and return the report."""
    for other, name in ((False, "chelsea.png"), (True, "coffee.png")):
        for resized, size in ((False, (640, 480)), (True, (800, 450))):
            image = np.asarray(cv2.resize(read_scene(name), size), np.uint8)
            Camera.pictures[(other, resized)] = cv2.imencode(".jpg", image)[1].tobytes()
    with (
        _SmallDisk() as folder,
        _Server(Camera) as camera,
        _Server(Hook) as hook,
    ):
        enroll_scenes(folder / "g.sqlite")
        settings = SETTINGS.format(camera=f"{camera}/video.mjpg", hook=f"{hook}/hook")
        daemon = DaemonProcess(folder, CONFIG + settings)
        try:
            return _run(daemon, Faults(daemon, folder), faults, progress)
        finally:
            daemon.stop()


def _run(
    daemon: DaemonProcess, faults: Faults, count: int, progress: Callable[[float], None]
) -> dict[str, Any]:
    daemon.wait_until(lambda: _recognizes(daemon, "cat", 0), 30)
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
                f"fault {number + 1}, {name}: {error}: {daemon.request('/api/status')}"
            ) from error
        progress((number + 1) / count)
    daemon.wait_until(lambda: not daemon.status()["sinks"]["webhook"]["waiting"], 30)
    status = daemon.status()
    sink = status["sinks"]["webhook"]
    counted = sink["published"] == sink["delivered"] + sink["dropped"] + sink["failed"]
    ended_s = daemon.stop()
    return {
        "faults": count,
        "kinds": dict(Counter(order)),
        "recovered": sum(map(len, took_s.values())),
        "bound_s": BOUND_S,
        "slowest_s": {name: max(times) for name, times in took_s.items() if times},
        "restarts": status["cameras"][0]["restarts"],
        "hung": status["cameras"][0]["hung"],
        "frames": status["frames"],
        "events": sink,
        "events_taken_by_server": Hook.accepted,
        "ended_s": ended_s,
        "ended_cpu_s": daemon.stop_cpu_s,
        "exit_code": daemon.child.returncode,
        # An event that the server accepted after the daemon stopped waiting counts as failed.
        "met": counted and Hook.accepted >= sink["delivered"] and daemon.child.returncode == 0,
    }


def _recovery_s(daemon: DaemonProcess) -> float:
    """Return the seconds until a new frame is recognized; raises `ReportError` after BOUND_S."""
    frames = daemon.status()["frames"]
    return daemon.wait_until(lambda: _recognizes(daemon, "cat", frames), BOUND_S)


def _recognizes(daemon: DaemonProcess, label: str, after: int) -> bool:
    code, status = daemon.request("/api/status")
    if code != 200 or not status["ready"] or status["frames"] <= after:
        return False
    recognition = status["cameras"][0]["regions"][0]["recognition"]
    return recognition is not None and recognition["label"] == label


class _SmallDisk:
    """A temporary folder on a file system of 6 MB. Mounting it needs root."""

    def __enter__(self) -> Path:
        self._folder = Path(tempfile.mkdtemp(prefix="edge-faults-"))
        command = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(self._folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise ReportError("cannot mount a small file system", remedy="run as root")
        return self._folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self._folder], check=False)
        self._folder.rmdir()


class _Server:
    """An HTTP server with the given handler on a free port. The context gives its address."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        Camera.mode = "unplugged"
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        Camera.mode = "normal"


@click.command()
@click.option("--faults", type=click.IntRange(1), default=200, show_default=True)
@click.option("--out", type=click.Path(path_type=Path))
def main(faults: int, out: Path | None) -> None:
    """Inject faults into a running daemon."""
    with progress_bar("injecting faults", 1.0) as advance:
        done = 0.0

        def progress(share: float) -> None:
            nonlocal done
            advance(share - done)
            done = share

        report = {"device": asdict(read_device()), **inject(faults, progress)}
    report["storage_faults"] = inject_storage_faults()
    write_report(report, out)
    sys.exit(0 if report["met"] else EXIT_CHECK_FAILED)


if __name__ == "__main__":
    main()
