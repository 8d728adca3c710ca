"""ssh to a board, without ever asking anything: one line that stays open, and one clear line of
text when it cannot be had."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from typing import IO

from device_tests.devices.base import LIMIT_S
from edge_runtime.errors import BoardUnreachableError, InputError

NO_CONNECTION = 255
"""The exit code of ssh when it is ssh that failed."""
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "LogLevel": "ERROR",
}
MEANINGS = (
    ("could not resolve", "no such host", "is it on, and in this network? its address works too"),
    ("identification has changed", "its host key has changed",
     "a new SD card? then: ssh-keygen -R {name}, and log in once by hand: ssh {host}"),
    ("host key verification failed", "its host key is not known here",
     "log in once by hand and compare it: ssh {host}"),
    ("permission denied", "it asks for a password, and nobody is there to type it",
     "put your key there: ssh-copy-id {host}"),
    ("connection refused", "it has no ssh server", "on the board: sudo systemctl enable --now ssh"),
    ("timed out", "it does not answer", "is it on, and in this network?"),
    ("no route", "it does not answer", "is it on, and in this network?"),
)  # fmt: skip


class Connection:
    """To one host; `SSH` in the environment names another ssh, with options of its own."""

    def __init__(self, host: str) -> None:
        if not host or host.startswith("-"):
            raise InputError("no name of a host", where=host, remedy="HOST=pi@raspberrypi.local")
        self.host = host
        self._folder = tempfile.TemporaryDirectory(prefix="edge-ssh-")
        options = {**OPTIONS, "ControlPath": f"{self._folder.name}/line"}
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
        """Run a line of shell there; raises `BoardUnreachableError`."""
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
                f"no answer within {limit_s:g} s", where=self.host, remedy="is it overloaded?"
            ) from error
        except FileNotFoundError as error:
            raise BoardUnreachableError(
                "there is no ssh here", where=self._ssh[0], remedy="apt install openssh-client"
            ) from error
        out, talk = ((part or b"").decode(errors="replace") for part in (done.stdout, done.stderr))
        if done.returncode == NO_CONNECTION:
            raise explained(self.host, talk)
        return subprocess.CompletedProcess(command, done.returncode, out, talk)

    def hold(self, command: str) -> subprocess.Popen[bytes]:
        """Start a line of shell that goes on, and over whose line the others travel."""
        return subprocess.Popen(
            [*self._ssh, "-o", "ControlMaster=yes", self.host, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is ours to answer
        )

    def close(self) -> None:
        """Forget the line."""
        self._folder.cleanup()


def explained(host: str, said: str) -> BoardUnreachableError:
    """What ssh `said`, in words that help."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [
        "ssh ended without a word"
    ]
    for sign, what, remedy in MEANINGS:
        if any(sign in line.lower() for line in lines):
            name = host.rpartition("@")[2]
            return BoardUnreachableError(
                what, where=host, remedy=remedy.format(host=host, name=name)
            )
    return BoardUnreachableError(lines[-1], where=host, remedy=f"try it by hand: ssh {host}")
