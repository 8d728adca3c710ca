"""The emulated board: booted from an image, reached by ssh, stopped when its context ends."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from compile.target.toolchain import run
from device_tests.machine.image import USER, Image
from device_tests.machine.ssh import HOST, SshBoard, free_port
from edge_runtime.errors import BoardUnreachableError

WORKSTATION = "10.0.2.2"
"""Address of this machine as seen from the board."""
CPU, CORES, MEMORY_MIB = "cortex-a72", 2, 2048
BOOT_S = 600.0


class Machine(SshBoard, AbstractContextManager["Machine"]):
    """QEMU's `virt` board. `folder` holds the disk and the console log of the run."""

    def __init__(self, image: Image, folder: Path, *, fresh: bool = True) -> None:
        """`fresh`: start with an empty overlay. Otherwise continue with the disk in `folder`."""
        super().__init__(folder)
        self._image, self._fresh = image, fresh
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        """Boot; raises `BoardUnreachableError` if a login does not succeed within `BOOT_S`."""
        image, disk = self._image, self.folder / "disk.qcow2"
        if self._fresh or not disk.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            base = ["-b", str(image.disk), "-F", "qcow2"]
            run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(disk)], self.folder)
        port = free_port()
        self.configure_ssh(port, USER, image.key)
        command = [
            *("nice", "qemu-system-aarch64", "-M", "virt", "-cpu", CPU, "-smp", str(CORES)),
            *("-m", str(MEMORY_MIB), "-nographic", "-no-reboot"),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
            *("-append", "console=ttyAMA0 panic=-1 quiet audit=0 systemd.firstboot=off"),
            *("-drive", f"file={disk},if=virtio,cache=unsafe"),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
        ]
        with (self.folder / "console.log").open("wb") as console:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        end_s = time.monotonic() + BOOT_S
        try:
            while self.run("true", check=False, limit_s=90).returncode:
                if time.monotonic() > end_s or self._child.poll() is not None:
                    raise BoardUnreachableError(
                        "the board has not booted",
                        where=HOST,
                        remedy=f"see {self.folder}/console.log",
                    )
                time.sleep(1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            self._child.wait()

    def shutdown(self, limit_s: float = 120) -> bool:
        """Power the board off as a user does. Return whether it stopped by itself."""
        self.run("sudo systemctl poweroff", check=False)
        assert self._child is not None
        try:
            self._child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        return True
