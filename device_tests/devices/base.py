"""The interface of a device under test, shared by emulated and real boards."""

from __future__ import annotations

import json
import subprocess
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "device_tests" / "scripts"
LIMIT_S = 900.0

Completed = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class DeviceInfo:
    """What a device reports about itself."""

    model: str
    machine: str
    """Architecture: x86_64, aarch64."""
    features: tuple[str, ...]
    """CPU features as /proc/cpuinfo names them. For an emulated device: those of the target."""
    cores: int
    system: str
    python: str
    cameras: tuple[str, ...] = ()
    """V4L2 devices that can be opened for reading and writing."""


class Device(AbstractContextManager["Device"], ABC):
    """A device that files can be copied to and from and on which programs can be run.

    Leaving the context removes everything that was copied there.
    """

    emulated: bool
    name: str
    info: DeviceInfo

    folder: str
    """A folder on the device for the output of scripts."""

    @abstractmethod
    def install(self) -> None:
        """Install the runtime of this checkout."""

    @abstractmethod
    def put(self, path: Path) -> str:
        """Copy a file or folder to the device and return its path there."""

    @abstractmethod
    def get(self, remote: str, local: Path) -> None:
        """Copy the file `remote` from the device to `local`."""

    @abstractmethod
    def python(self, *arguments: str) -> Completed:
        """Run the Python in which the runtime is installed."""

    @abstractmethod
    def program(self, *command: str) -> Completed:
        """Run a program that was copied to the device."""

    def runtime(self, *arguments: str) -> Completed:
        """Run `edge-runtime` on the device."""
        return self.python("-m", "edge_runtime", *arguments)

    def run_script(self, script: str, *arguments: str) -> Any:
        """Run a script of scripts/ and return the JSON on the last line that it prints."""
        text = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
        completed = self.python("-c", text, *arguments)
        assert completed.returncode == 0, (
            f"{script}: exit code {completed.returncode}\n{completed.stderr}"
        )
        return json.loads(completed.stdout.splitlines()[-1])
