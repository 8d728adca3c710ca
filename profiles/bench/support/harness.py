"""Harness of the daemon benchmarks: a running daemon observed from outside, and videos for it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from demo.clip import film
from demo.scenes import SCENES, read_scene
from edge_runtime.engine import open_engine
from edge_runtime.errors import ReportError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image import Image
from edge_runtime.image.preprocess import views_of
from edge_runtime.recognition.pipeline import code_of

CONFIG = """\
gallery.path = "g.sqlite"
output.format = "json"
[http]
port = 0
requests_per_minute = 100000
"""


class DaemonProcess:
    """An `edge-runtime run` process and its HTTP API."""

    def __init__(self, folder: Path, config: str, *, page: bool = True, path: str = "") -> None:
        """Start the daemon in `folder`.

        `page`: wait for its HTTP server. `path`: a folder to put first in PATH.
        """
        self.config = folder / "edge.toml"
        self.config.write_text(config, encoding="utf-8")
        command = [sys.executable, "-m", "edge_runtime", "run", "--config", str(self.config)]
        self.child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PATH": ":".join(filter(None, (path, os.environ["PATH"])))},
        )
        self.process = psutil.Process(self.child.pid)
        self.log_lines: list[str] = []
        self.stop_cpu_s = 0.0
        """CPU seconds of the shutdown; set by `stop`."""
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self.url = ""
        if page:
            self.wait_until(
                lambda: any("the page is at" in line for line in list(self.log_lines)), 60
            )
            line = next(line for line in self.log_lines if "the page is at" in line)
            self.url = line.split()[-1].rstrip("/")

    def _listen(self) -> None:
        assert self.child.stderr
        for line in self.child.stderr:
            self.log_lines.append(line.strip())
            del self.log_lines[:-2000]

    def request(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
        """Send a request and return status (0 without an answer) and JSON of the answer."""
        headers = {"Content-Type": "image/jpeg"}
        http_request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(http_request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")
        except OSError:
            return 0, None

    def status(self) -> dict[str, Any]:
        """Return the content of `/api/status`."""
        code, body = self.request("/api/status")
        if code != 200:
            raise ReportError(f"the daemon answered /api/status with {code}", where=self.url)
        return dict(body)

    def open_page(self, cameras: Sequence[str] = ("",)) -> None:
        """Read the events and the live views of `cameras` until the daemon ends, as the page does.

        An empty name means the first camera.
        """

        def read(path: str) -> None:
            with (
                suppress(OSError, HTTPException, ValueError),
                urllib.request.urlopen(self.url + path) as answer,
            ):
                while answer.read1(1 << 16):
                    pass

        for path in ("/api/stream", *(f"/live.mjpg?camera={name}" for name in cameras)):
            threading.Thread(target=read, args=(path,), daemon=True).start()

    def wait_until(self, condition: Callable[[], Any], limit_s: float) -> float:
        """Wait for `condition` and return the seconds it took.

        Raises `ReportError` after `limit_s`, or if the daemon ends.
        """
        began_s = time.monotonic()
        while not condition():
            if self.child.poll() is not None:
                raise ReportError(f"the daemon has ended: {self.log_lines[-3:]}")
            if time.monotonic() - began_s > limit_s:
                raise ReportError(f"timed out after {limit_s:g} s: {self.log_lines[-3:]}")
            time.sleep(0.02)
        return time.monotonic() - began_s

    def cpu_s(self) -> float:
        """Return user and system time of all threads so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def stop(self) -> float:
        """Stop the daemon with SIGTERM and return the seconds that took."""
        began_s = time.monotonic()
        if self.child.poll() is None:
            before_s = self.cpu_s() + _ended_children_cpu_s()
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
            self.stop_cpu_s = _ended_children_cpu_s() - before_s
        took_s = time.monotonic() - began_s
        self._listener.join()
        assert self.child.stderr
        self.child.stderr.close()
        return took_s


def _ended_children_cpu_s() -> float:
    """Return user and system time of all ended children of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def running_daemon(config: str, *, page: bool = True, path: str = "") -> Iterator[DaemonProcess]:
    """Run a daemon in a temporary folder with the scenes of the demo enrolled."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        enroll_scenes(folder / "g.sqlite")
        daemon = DaemonProcess(folder, config, page=page, path=path)
        try:
            yield daemon
        finally:
            daemon.stop()


def enroll_scenes(path: Path) -> None:
    """Enroll the scenes of the demo, one photo each with its views."""
    engine = open_engine()
    with Gallery(path, engine.model, create=True) as gallery:
        for scene in SCENES:
            if scene.label:
                views = views_of(read_scene(scene.enrolled or scene.photo))
                gallery.enroll([LabeledCode(scene.label, code_of(engine, view)) for view in views])


def add_noise(image: Image, generator: np.random.Generator, sigma: float = 4) -> Image:
    """Return `image` with sensor noise of standard deviation `sigma`."""
    noise = generator.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def tripod_frames(
    frames_per_scene: int, names: tuple[str, ...], *, moving: int = 6
) -> Iterator[Image]:
    """Yield frames (480 x 640 x 3) of a camera that moves to each scene and rests there."""
    generator = np.random.default_rng(11)
    for name in names:
        photo = read_scene(name)
        last = photo
        for last in film(photo, moving, generator):
            yield last
        for _ in range(frames_per_scene - moving):
            yield add_noise(last, generator)


def write_video(path: Path, frames: Iterator[Image], size: tuple[int, int], fps: float) -> None:
    """Write `frames` to a video file of `size` (width, height)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for frame in frames:
        writer.write(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8))
    writer.release()
