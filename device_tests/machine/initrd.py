"""The initial RAM disk of the emulated board: what its kernel needs to find the disk."""

from __future__ import annotations

import lzma
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from compile.target.toolchain import run

MODULES = ("crc32c_generic", "virtio_blk", "ext4")
"""ext4 needs crc32c_generic but does not declare the dependency."""
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for name in {" ".join(MODULES)}; do /bin/busybox modprobe $name; done
until [ -e /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox umount /proc /sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""


def write_initrd(root: Path, output: Path) -> None:
    """Write the RAM disk `output` from the system at `root`.

    The system must contain busybox, the kernel modules and their lists.
    """
    (modules,) = (root / "usr/lib/modules").iterdir()
    with output.open("wb") as file:
        for name in ("bin", "dev", "proc", "sys", "root"):
            file.write(_cpio(name, stat.S_IFDIR | 0o755, b""))
        file.write(_cpio("bin/busybox", stat.S_IFREG | 0o755, _read(root / "usr/bin/busybox")))
        file.write(_cpio("init", stat.S_IFREG | 0o755, INIT.encode()))
        staging = output.parent / "initrd-modules"
        shutil.rmtree(staging, ignore_errors=True)
        copy_modules(modules, MODULES, staging / "lib/modules" / modules.name, unpack=True)
        run(["depmod", "-b", str(staging), modules.name], output.parent)
        for entry in sorted(staging.rglob("*")):
            mode, name = entry.lstat().st_mode, entry.relative_to(staging).as_posix()
            file.write(_cpio(name, mode, b"" if entry.is_dir() else _read(entry)))
        file.write(_cpio("TRAILER!!!", 0, b""))


def copy_modules(source: Path, names: Sequence[str], to: Path, *, unpack: bool = False) -> None:
    """Copy kernel modules, their dependencies, and the lists that depmod reads.

    `unpack`: decompress the modules, because busybox cannot read xz.
    """
    dependencies = {}
    for line in (source / "modules.dep").read_text(encoding="utf-8").splitlines():
        module, _, others = line.partition(":")
        dependencies[Path(module).name.partition(".")[0].replace("-", "_")] = [
            module,
            *others.split(),
        ]
    for name in names:
        for file in dependencies.get(name, ()):  # absent: built into the kernel
            target = to / (file.removesuffix(".xz") if unpack else file)
            target.parent.mkdir(parents=True, exist_ok=True)
            data = (source / file).read_bytes()
            target.write_bytes(lzma.decompress(data) if unpack and file.endswith(".xz") else data)
    for path in source.glob("modules.*"):
        if path.name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
            shutil.copy(path, to)


def _read(path: Path) -> bytes:
    return path.read_bytes()


_count = 0


def _cpio(name: str, mode: int, data: bytes) -> bytes:
    """Return one entry of a "newc" cpio archive, the format of an initial RAM disk."""
    global _count
    _count += 1
    encoded = name.encode() + b"\0"
    fields = (_count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
