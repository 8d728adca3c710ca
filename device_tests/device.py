"""A device to run things on: one small contract, an emulated board and a real one."""

from __future__ import annotations

import shlex
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from compile.target import Target
from compile.userland import ROOT, Userland

Done = subprocess.CompletedProcess[str]
LIMIT_S = 900


class Device(ABC):
    """Files can be put on it, Python and programs can be run on it."""

    emulated: bool

    @abstractmethod
    def put(self, path: Path) -> str:
        """Copy a file or folder there; its place there."""

    @abstractmethod
    def python(self, *arguments: str) -> Done:
        """Run its Python, which has the runtime."""

    @abstractmethod
    def program(self, *command: str) -> Done:
        """Run a program that was put there."""


class EmulatedDevice(Device):
    """QEMU's CPU and a small Debian; what is here is there."""

    emulated = True

    def __init__(self, target: Target) -> None:
        self.target, self.userland = target, Userland()
        self.userland.make()

    def put(self, path: Path) -> str:
        """See `Device`: it can be read where it is."""
        return str(path.resolve())

    def python(self, *arguments: str) -> Done:
        """See `Device`."""
        return self.userland.run(self.target, *arguments, timeout=LIMIT_S)

    def program(self, *command: str) -> Done:
        """See `Device`."""
        emulator = self.userland.emulator(self.target)
        return subprocess.run(
            [*emulator, *command], capture_output=True, text=True, check=False, timeout=LIMIT_S
        )


class SshDevice(Device):
    """A board that ssh reaches without a password and that has Python 3.11 with venv."""

    emulated = False
    folder = ".edge-runtime-device-test"

    def __init__(self, host: str) -> None:
        self.host = host
        self._remote(f"mkdir -p {self.folder}")
        for name in ("edge_runtime", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
            self.put(ROOT / name)
        self._remote(f"cd {self.folder} && python3 -m venv env && env/bin/pip install --quiet .")

    def _remote(self, text: str) -> Done:
        done = subprocess.run(
            ["ssh", "-o", "BatchMode=yes", self.host, text],
            capture_output=True, text=True, check=False, timeout=LIMIT_S,
        )  # fmt: skip
        if done.returncode == 255:
            raise ConnectionError(f"{self.host}: {done.stderr.strip()}")
        return done

    def put(self, path: Path) -> str:
        """See `Device`."""
        subprocess.run(
            ["scp", "-q", "-r", "-o", "BatchMode=yes", str(path), f"{self.host}:{self.folder}/"],
            check=True, timeout=LIMIT_S,
        )  # fmt: skip
        return f"{self.folder}/{path.name}"

    def python(self, *arguments: str) -> Done:
        """See `Device`."""
        return self._remote(shlex.join([f"{self.folder}/env/bin/python", *arguments]))

    def program(self, *command: str) -> Done:
        """See `Device`."""
        return self._remote(shlex.join(command))
