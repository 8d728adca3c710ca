"""A Debian system with systemd as its first process, booted by systemd-nspawn on this machine.

It shares the machine's kernel and network, and its disk is an overlay that one test changes.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import IO

from device_tests.machine.ssh import SshBoard, free_port
from tests.support.processes import patience

PACKAGES = (
    *("systemd-sysv", "dbus", "openssh-server", "python3-venv", "rsync", "sudo", "procps"),
    *("iproute2", "ca-certificates", "openssl"),
)
RELEASE = "trixie"
PROGRAMS = {"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "rsync": "rsync"}


def missing() -> str:
    """Return why no container can be started here; empty if one can."""
    if os.geteuid():
        return "only root can start a container"
    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    return f"apt install {' '.join(absent)}" if absent else ""


def make_base(folder: Path) -> Path:
    """Return a folder with the installed system; it is made once, in some minutes."""
    root, done = folder / "root", folder / f"done-{RELEASE}"
    if done.exists():
        return root
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE]
    subprocess.run([*command, str(root)], check=True, stdout=subprocess.DEVNULL)
    # A proxy in front of the package index may sign with a key of its own.
    if trusted := ssl.get_default_verify_paths().cafile:
        shutil.copy(trusted, root / "etc/ssl/certs/ca-certificates.crt")
    (root / "etc/pip.conf").write_text(
        "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ntimeout = 120\n"
    )
    done.touch()
    return root


class Container(SshBoard):
    """The board: `folder` holds its disk, the console's log, and the configuration of ssh."""

    def __init__(self, base: Path, folder: Path) -> None:
        super().__init__(folder)
        self.root = folder / "root"
        upper, work = folder / "upper", folder / "work"
        for each in (self.root, upper, work):
            each.mkdir(parents=True)
        options = f"lowerdir={base},upperdir={upper},workdir={work}"
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True
        )
        self._port, self._key = free_port(), folder / "key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)], check=True
        )
        keys = self.root / "root/.ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self._key.with_suffix(".pub"), keys)
        (self.root / "etc/ssh/sshd_config.d/board.conf").write_text(
            f"Port {self._port}\nListenAddress 127.0.0.1\nUseDNS no\n"
        )
        (self.root / "etc/hostname").write_text("board\n")
        self.configure_ssh(self._port, "root", self._key)
        self._child: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def boot(self) -> None:
        """Start it, and wait until it accepts a login."""
        self._log = (self.folder / "console.log").open("ab")
        self._child = subprocess.Popen(
            [
                *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
                *("--machine=edge-runtime-board", "--directory", str(self.root)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        end_s = time.monotonic() + 120 * patience()
        while self.run("true", check=False, limit_s=60).returncode:
            assert self._child.poll() is None, (self.folder / "console.log").read_text()[-2000:]
            assert time.monotonic() < end_s, "the container has not booted"
            time.sleep(1)

    def cut_power(self) -> None:
        """End every process at once. What was written stays, as it is the machine's memory."""
        if self._child is not None:
            for pid in _children(self._child.pid):  # its first process; the kernel ends the rest
                os.kill(pid, signal.SIGKILL)
            self._child.wait()
            self._child = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def close(self) -> None:
        """End it and give its disk back."""
        self.cut_power()
        subprocess.run(["umount", "--lazy", str(self.root)], check=False)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]
