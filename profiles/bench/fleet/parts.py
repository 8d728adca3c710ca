"""The processes of a fleet: broker, file server, desk, boards. Each can be killed and stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import ReportError

ROOT = Path(__file__).parents[3]
BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Part:
    """A process that is started again after each fault."""

    def __init__(self, name: str, command: Sequence[object], log: Path) -> None:
        self.name = name
        self._command = [str(each) for each in command]
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, if it does not run."""
        if self._child is None or self._child.poll() is not None:
            with self._log.open("ab") as log:
                self._child = subprocess.Popen(
                    self._command,
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )

    def kill(self) -> None:
        """Kill the process with signal 9."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def stop_for(self, seconds: float) -> None:
        """Stop the process for some seconds, as a machine without CPU time does."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            self._child.send_signal(signal.SIGCONT)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto(Part):
    """A broker that keeps its messages in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        """Raises `ReportError` without mosquitto."""
        if BROKER is None:
            raise ReportError("not installed", where="mosquitto", remedy="apt install mosquitto")
        self._data = folder / "broker"
        self._data.mkdir()
        self._data.chmod(0o777)
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self._data}/\nautosave_interval 1\n"
        )
        super().__init__("broker", [BROKER, "-c", config], folder / "broker.log")

    def wipe(self) -> None:
        """Remove all that the broker has stored; it must not run."""
        for file in self._data.iterdir():
            file.unlink()


def file_server(folder: Path, public: Path, port: int) -> Part:
    """Return a static file server for `public`."""
    command = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"]
    return Part("files", [*command, "--directory", public], folder / "files.log")
