"""A disk whose power can be cut: ext4 in a file, which forgets what was not synced."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, which the kernel has for this very test."""
WITHOUT_FLUSH = struct.pack("I", 2)
"""Even the journal in memory is lost."""


class Disk:
    """A file system at `place`. Skips the test where it cannot be mounted: that needs root."""

    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        self.place = folder / "disk"
        self.place.mkdir(parents=True)
        self._file = folder / "disk.img"
        if os.geteuid() or not shutil.which("mkfs.ext4") or not Path("/dev/loop-control").exists():
            pytest.skip("only root can mount a disk, with e2fsprogs and loop devices")
        with self._file.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self._file], check=True)
        try:
            self._mount(self._file)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"cannot mount a disk here: {error.stderr.decode()}")

    def _mount(self, file: Path) -> None:
        # No commit by itself: only the test and what it tests make something durable.
        command = ["mount", "-o", "loop,commit=300", str(file), str(self.place)]
        subprocess.run(command, check=True, capture_output=True)

    def commit(self) -> None:
        """Let the kernel commit its journal, as it does every 5 s.

        Names and sizes become durable. The content of new files does not: they are empty after a
        power cut.
        """
        with (self.place / "other").open("w") as file:
            file.write("x")
            file.flush()
            os.fsync(file.fileno())

    def cut(self) -> None:
        """Cut the power, and mount what is left. No process may have a file open."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_FLUSH)
        finally:
            os.close(descriptor)
        self.remove()
        self._mount(self._file)

    @contextmanager
    def after_a_cut(self) -> Iterator[None]:
        """Mount, at the same place, what a power cut would leave now; nothing is lost afterward."""
        copy = self._file.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", self._file, copy], check=True)
        self._mount(copy)
        try:
            yield
        finally:
            self.remove()

    def remove(self) -> None:
        """Unmount the file system."""
        subprocess.run(["umount", self.place], check=True)
