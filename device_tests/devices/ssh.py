"""Non-interactive ssh to a board.

All commands share one connection. A failure to connect becomes one line that says what to do.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from typing import IO

from device_tests.devices.base import LIMIT_S
from edge_runtime.errors import BoardUnreachableError, InputError

NO_CONNECTION = 255
"""The exit code of ssh when ssh itself fails."""
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "LogLevel": "ERROR",
}
MEANINGS = (
    ("could not resolve", "no such host",
     "check that it is on and in this network, or use its address"),
    ("identification has changed", "its host key has changed",
     "after a new SD card: ssh-keygen -R {name}, then log in once by hand: ssh {host}"),
    ("host key verification failed", "its host key is not known here",
     "log in once by hand and compare the key: ssh {host}"),
    ("permission denied", "it asks for a password, which a test cannot type",
     "install your key: ssh-copy-id {host}"),
    ("connection refused", "it runs no ssh server",
     "on the board: sudo systemctl enable --now ssh"),
    ("timed out", "it does not answer", "check that it is on and in this network"),
    ("no route", "it does not answer", "check that it is on and in this network"),
)  # fmt: skip


class Connection:
    """A connection to one host.

    The environment variable `SSH` replaces the ssh command and may contain options.
    """

    def __init__(self, host: str) -> None:
        if not host or host.startswith("-"):
            raise InputError(
                "not a host name", where=host, remedy="for example HOST=pi@raspberrypi.local"
            )
        self.host = host
        self._folder = tempfile.TemporaryDirectory(prefix="edge-ssh-")
        options = {**OPTIONS, "ControlPath": f"{self._folder.name}/control"}
        self._ssh = [
            *shlex.split(os.environ.get("SSH") or "ssh"),
            *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
        ]

    def run(
        self,
        command: str,
        *,
        source: IO[bytes] | None = None,
        sink: IO[bytes] | int = subprocess.PIPE,
        limit_s: float = LIMIT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the host; raises `BoardUnreachableError`.

        `source` is its standard input. `sink` receives its standard output, which is captured by
        default.
        """
        try:
            done = subprocess.run(
                [*self._ssh, self.host, command],
                stdin=source or subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.PIPE,
                check=False,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired as error:
            raise BoardUnreachableError(
                f"no answer within {limit_s:g} s",
                where=self.host,
                remedy="check whether it is overloaded",
            ) from error
        except FileNotFoundError as error:
            raise BoardUnreachableError(
                "the ssh program is missing",
                where=self._ssh[0],
                remedy="apt install openssh-client",
            ) from error
        out, err = ((part or b"").decode(errors="replace") for part in (done.stdout, done.stderr))
        if done.returncode == NO_CONNECTION:
            raise connection_error(self.host, err)
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def open_session(self, command: str) -> subprocess.Popen[bytes]:
        """Start a long-running shell command whose connection all other commands share."""
        return subprocess.Popen(
            [*self._ssh, "-o", "ControlMaster=yes", self.host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # this process handles Ctrl-C
        )

    def close(self) -> None:
        """Remove the control socket."""
        self._folder.cleanup()


def connection_error(host: str, stderr: str) -> BoardUnreachableError:
    """Translate an error message of ssh into an error with a remedy."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or [
        "ssh ended without a message"
    ]
    for pattern, what, remedy in MEANINGS:
        if any(pattern in line.lower() for line in lines):
            name = host.rpartition("@")[2]
            return BoardUnreachableError(
                what, where=host, remedy=remedy.format(host=host, name=name)
            )
    return BoardUnreachableError(lines[-1], where=host, remedy=f"try it by hand: ssh {host}")
