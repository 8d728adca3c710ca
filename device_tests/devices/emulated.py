"""An emulated board: QEMU's CPU and a small Debian, which shares this machine's files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from compile.emulation.userland import PLATFORMS, PYTHON, ROOT, Userland
from compile.target.description import Target, read_target
from compile.target.toolchain import run
from device_tests.devices.base import LIMIT_S, Completed, Device, DeviceInfo


class EmulatedDevice(Device):
    """A device whose programs run under QEMU in user mode."""

    emulated = True

    def __init__(self, target: Target, userland: Userland | None = None) -> None:
        self.target, self.userland = target, userland or Userland()
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


def device_with_wheel(name: str, wheel: Path, folder: Path) -> EmulatedDevice:
    """Return the emulated device `name` with nothing installed but `wheel` and what it requires.

    `folder` is new and holds what is installed; the system comes from the shared `Userland`.
    Raises `ToolchainError`.
    """
    shared, clean = Userland(), Userland(folder)
    shared.make()
    folder.mkdir(parents=True)
    clean.root.symlink_to(shared.root)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(clean.site), "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", PYTHON, "--constraint", str(ROOT / "requirements/demo.txt")]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    run([*command, str(wheel)], folder)
    return EmulatedDevice(read_target(name), clean)
