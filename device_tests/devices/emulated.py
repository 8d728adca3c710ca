"""An emulated board: QEMU's CPU and a small Debian, which shares this machine's files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from compile.emulation.userland import PYTHON, Userland
from compile.target.description import Target
from device_tests.devices.base import LIMIT_S, Completed, Device, DeviceInfo


class EmulatedDevice(Device):
    """A device whose programs run under QEMU in user mode."""

    emulated = True

    def __init__(self, target: Target) -> None:
        self.target, self.userland = target, Userland()
        self.name = f"emulated {target.emulated_as}"
        self.info = DeviceInfo(
            model=target.board,
            machine=target.triple.split("-")[0],
            features=target.features,
            cores=target.cores,
            system="QEMU user mode",
            python=PYTHON,
        )

    def __enter__(self) -> EmulatedDevice:
        self.folder = tempfile.mkdtemp(prefix="edge-device-test-")
        return self

    def __exit__(self, *_: Any) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def install(self) -> None:
        """Unpack the emulated system, which contains this checkout."""
        self.userland.make()

    def put(self, path: Path) -> str:
        """Return the absolute path: emulated programs read files where they are."""
        return str(path.resolve())

    def get(self, remote: str, local: Path) -> None:
        """Copy the file `remote` to `local`."""
        shutil.copyfile(remote, local)

    def python(self, *arguments: str) -> Completed:
        """Run the emulated Python."""
        return self.userland.run(self.target, *arguments, timeout=LIMIT_S)

    def program(self, *command: str) -> Completed:
        """Run a program on the emulated CPU."""
        emulator = self.userland.emulator(self.target)
        return subprocess.run(
            [*emulator, *command], capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
