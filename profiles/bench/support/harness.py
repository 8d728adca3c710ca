"""What the daemon's measurements share: a running daemon, seen from outside, and films for it."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from demo.clip import film
from demo.scenes import SCENES, read_scene
from edge_runtime.engine import open_engine
from edge_runtime.enroll import views_of
from edge_runtime.errors import ReportError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image import Image
from edge_runtime.recognition.pipeline import code_of

CONFIG = """\
gallery.path = "g.sqlite"
output.format = "json"
[http]
port = 0
requests_per_minute = 100000
"""


class Running:
    """A real `edge-runtime run` with a page, and what can be seen of it."""

    def __init__(self, folder: Path, config: str, *, page: bool = True, path: str = "") -> None:
        """`path`: a folder with programs that it should find before others."""
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
        self.said: list[str] = []
        self.end_cpu_s = 0.0
        """What its end took, once it has ended."""
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self.url = ""
        if page:
            self.until(lambda: any("the page is at" in line for line in list(self.said)), 60)
            line = next(line for line in self.said if "the page is at" in line)
            self.url = line.split()[-1].rstrip("/")

    def _listen(self) -> None:
        assert self.child.stderr
        for line in self.child.stderr:
            self.said.append(line.strip())
            del self.said[:-2000]

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of an answer; 0 if there is none."""
        headers = {"Content-Type": "image/jpeg"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")
        except OSError:
            return 0, None

    def status(self) -> dict[str, Any]:
        """`/api/status`."""
        code, body = self.ask("/api/status")
        if code != 200:
            raise ReportError(f"the daemon does not answer ({code})", where=self.url)
        return dict(body)

    def until(self, condition: Callable[[], Any], limit_s: float) -> float:
        """Wait for `condition`; gives the seconds it took. Beyond `limit_s`: `ReportError`."""
        began_s = time.monotonic()
        while not condition():
            if self.child.poll() is not None:
                raise ReportError(f"the daemon has ended: {self.said[-3:]}")
            if time.monotonic() - began_s > limit_s:
                raise ReportError(f"not within {limit_s:g} s: {self.said[-3:]}")
            time.sleep(0.02)
        return time.monotonic() - began_s

    def cpu_s(self) -> float:
        """User and system time so far, of all its threads."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def end(self) -> float:
        """End it; gives the seconds that took (see `end_cpu_s`, too)."""
        began_s = time.monotonic()
        if self.child.poll() is None:
            before_s = self.cpu_s() + _ended_children_cpu_s()
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
            self.end_cpu_s = _ended_children_cpu_s() - before_s
        took_s = time.monotonic() - began_s
        self._listener.join()
        assert self.child.stderr
        self.child.stderr.close()
        return took_s


def _ended_children_cpu_s() -> float:
    """User and system time of all children of this process that it has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def running(config: str, *, page: bool = True, path: str = "") -> Iterator[Running]:
    """A daemon in a scratch folder that knows the demo's things."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        folder = Path(name)
        enrol(folder / "g.sqlite")
        daemon = Running(folder, config, page=page, path=path)
        try:
            yield daemon
        finally:
            daemon.end()


def enrol(path: Path) -> None:
    """The demo's things, one photo each with its views."""
    engine = open_engine()
    with Gallery(path, engine.model, create=True) as gallery:
        for scene in SCENES:
            if scene.label:
                views = views_of(read_scene(scene.enrolled or scene.photo))
                gallery.enroll([LabeledCode(scene.label, code_of(engine, view)) for view in views])


def noisy(image: Image, generator: np.random.Generator, sigma: float = 4) -> Image:
    """`image` as a sensor gives it, one time like the other but for the noise."""
    noise = generator.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def tripod(frames_a_scene: int, names: tuple[str, ...], *, moving: int = 6) -> Iterator[Image]:
    """A camera that is carried from scene to scene and stands still at each; 480 x 640 x 3."""
    generator = np.random.default_rng(11)
    for name in names:
        photo = read_scene(name)
        last = photo
        for last in film(photo, moving, generator):
            yield last
        for _ in range(frames_a_scene - moving):
            yield noisy(last, generator)


def write_film(path: Path, frames: Iterator[Image], size: tuple[int, int], fps: float) -> None:
    """`frames` as a video file of `size` (width, height)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for frame in frames:
        writer.write(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8))
    writer.release()
