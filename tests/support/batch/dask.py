"""A Dask scheduler and its workers, as processes that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.support.processes import ROOT, patience


class DaskCluster:
    """A context manager. What is started in it ends with it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder = folder
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> DaskCluster:
        self.folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in [*self.workers, *filter(None, [self.scheduler])]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def start_scheduler(self) -> None:
        """Start the scheduler and wait until it listens."""
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"
        )
        end_s = time.monotonic() + 60 * patience()
        while time.monotonic() < end_s:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    return
            assert self.scheduler.poll() is None, (self.folder / "scheduler.log").read_text()
            time.sleep(0.1)
        raise TimeoutError

    def start_worker(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker with one thread."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        place = ("--local-directory", str(self.folder))
        worker = self._start("worker", self.address, *options, *place, **variables)
        self.workers.append(worker)
        return worker

    def _start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **variables},
            )
