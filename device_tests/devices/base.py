"""A device to run things on: one small contract, for an emulated board and a real one."""

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

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class About:
    """What a device says of itself."""

    model: str
    machine: str
    """Architecture: x86_64, aarch64."""
    features: tuple[str, ...]
    """What its CPU can do, as /proc/cpuinfo names it; empty: whatever the target asks for."""
    cores: int
    system: str
    python: str
    cameras: tuple[str, ...] = ()
    """V4L2 devices from which pictures may be read."""


class Device(AbstractContextManager["Device"], ABC):
    """Files can be put on it and fetched from it, its Python and programs can be run on it.

    Leaving the context takes away all that was put there.
    """

    emulated: bool
    name: str
    about: About

    folder: str
    """One of its own there, for what scripts write."""

    @abstractmethod
    def install(self) -> None:
        """Put the runtime there, as this checkout has it."""

    @abstractmethod
    def put(self, path: Path) -> str:
        """Copy a file or folder there; its place there."""

    @abstractmethod
    def get(self, place: str, to: Path) -> None:
        """Copy the file `place` from there."""

    @abstractmethod
    def python(self, *arguments: str) -> Done:
        """Run its Python, which has the runtime."""

    @abstractmethod
    def program(self, *command: str) -> Done:
        """Run a program that was put there."""

    def runtime(self, *arguments: str) -> Done:
        """Run its `edge-runtime`."""
        return self.python("-m", "edge_runtime", *arguments)

    def ask(self, script: str, *arguments: str) -> Any:
        """What a script of scripts/ finds out there: the JSON on the last line that it prints."""
        text = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
        done = self.python("-c", text, *arguments)
        assert done.returncode == 0, f"{script}: exit code {done.returncode}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])
