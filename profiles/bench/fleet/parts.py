"""The processes of a fleet: broker, file server, desk, boards. Each can be killed and stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import ReportError
from profiles.bench.fleet.clocks import Clock
from profiles.bench.fleet.network import Network, die_with_parent

ROOT = Path(__file__).parents[3]
BROKER = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Part:
    """A process that is started again after each fault. It ends with this program."""

    def __init__(
        self, name: str, command: Sequence[object], log: Path, clock: Clock, network: Network
    ) -> None:
        self.name, self.clock = name, clock
        self._command = [*network.inside(name), *map(str, command)]
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, if it does not run; for the main thread."""
        if self._child is None or self._child.poll() is not None:
            with self._log.open("ab") as log:
                self._child = subprocess.Popen(
                    self._command,
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(ROOT), **self.clock.environment},
                    preexec_fn=die_with_parent,
                )

    def kill(self) -> None:
        """Kill the process with signal 9."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def stop(self) -> None:
        """Stop the process, as a machine without CPU time does."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a stopped process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto(Part):
    """A broker that keeps its messages in a folder of its own."""

    def __init__(self, folder: Path, port: int, clock: Clock, network: Network) -> None:
        """Raises `ReportError` without mosquitto."""
        if BROKER is None:
            raise ReportError("not installed", where="mosquitto", remedy="apt install mosquitto")
        self._data = folder / "broker"
        self._data.mkdir()
        self._data.chmod(0o777)
        config = folder / "mosquitto.conf"
        # With another user, the kernel would forget that it ends with this program.
        config.write_text(
            f"user {pwd.getpwuid(os.geteuid()).pw_name}\n"
            f"listener {port} {network.address('broker')}\nallow_anonymous true\n"
            f"persistence true\npersistence_location {self._data}/\nautosave_interval 1\n"
        )
        command = [BROKER, "-c", config]
        super().__init__("broker", command, folder / "broker.log", clock, network)

    def wipe(self) -> None:
        """Remove all that the broker has stored; it must not run."""
        for file in self._data.iterdir():
            file.unlink()


def file_server(folder: Path, public: Path, port: int, clock: Clock, network: Network) -> Part:
    """Return a static file server for `public`."""
    at = ["--bind", network.address("files"), "--directory", public]
    command = [sys.executable, "-m", "http.server", port, *at]
    return Part("files", command, folder / "files.log", clock, network)
