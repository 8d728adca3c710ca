"""The daemon as a real process."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.engine import Engine
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image import Image
from edge_runtime.recognition.pipeline import code_of
from tests.support.processes import ROOT


class Process:
    """A process of `edge-runtime run`, with threads that collect its log and events."""

    def __init__(self, *arguments: object, script: str = "", **variables: str) -> None:
        program = ["-c", script] if script else ["-m", "edge_runtime"]
        self.child = subprocess.Popen(
            [sys.executable, *program, "run", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **variables},
        )
        self.log_lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        atexit.register(self.child.kill)  # in case a test fails
        # Daemon threads: pytest must end even if a failed test leaves its process behind.
        self._threads = [
            threading.Thread(target=read, daemon=True)
            for read in (self._read_log, self._read_events)
        ]
        for thread in self._threads:
            thread.start()

    def _read_log(self) -> None:
        assert self.child.stderr
        for line in self.child.stderr:
            self.log_lines.append(line)

    def _read_events(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            self.events.append(json.loads(line))

    def check_running(self) -> None:
        """Fail with the exit code and the log if the process has ended."""
        code = self.child.poll()
        assert code is None, f"ended with {code}: {''.join(self.log_lines)}"

    def until(self, condition: Callable[[], Any], limit_s: float = 30.0) -> Any:
        end_s = time.monotonic() + limit_s
        while not (found := condition()):
            self.check_running()
            assert time.monotonic() < end_s, self.log_lines
            time.sleep(0.02)
        return found

    def until_logged(self, text: str) -> None:
        self.until(lambda: any(text in line for line in list(self.log_lines)))

    def until_event(self, kind: str, label: str) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            found = (e for e in list(self.events) if e["kind"] == kind and e["label"] == label)
            return next(found, None)

        return self.until(find)  # type: ignore[no-any-return]

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Stop the process; return how many seconds that took."""
        began_s = time.monotonic()
        if self.child.poll() is None:
            self.child.send_signal(number)
        try:
            self.child.wait(20)
        finally:
            self.child.kill()
        took_s = time.monotonic() - began_s
        for thread in self._threads:
            thread.join()
        for stream in (self.child.stdout, self.child.stderr):
            assert stream
            stream.close()
        return took_s


def enroll_near(engine: Engine, path: Path, **photos: Image) -> None:
    """Three bits away from the photos, whatever the network: a radius of 0 knows none of them."""
    with Gallery(path, engine.model, create=True) as gallery:
        gallery.enroll(
            LabeledCode(label, code_of(engine, photo) ^ np.uint64(7))
            for label, photo in photos.items()
        )


CONFIG = """\
gallery.path = "g.sqlite"
gallery.keep_pictures = true
output.format = "json"
[camera]
source = "{film}"
loop = true
real_time = true
"""
