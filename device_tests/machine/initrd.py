"""The first file system of the emulated board: what its kernel needs to find the disk."""

from __future__ import annotations

import lzma
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from compile.target.toolchain import run

MODULES = ("crc32c_generic", "virtio_blk", "ext4")
"""The first is asked for by the last, which does not say so."""
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


def write_initrd(root: Path, to: Path) -> None:
    """`root`: the system on the disk, with busybox, the kernel's modules and their lists."""
    (modules,) = (root / "usr/lib/modules").iterdir()
    with to.open("wb") as file:
        for name in ("bin", "dev", "proc", "sys", "root"):
            file.write(_cpio(name, stat.S_IFDIR | 0o755, b""))
        file.write(_cpio("bin/busybox", stat.S_IFREG | 0o755, _read(root / "usr/bin/busybox")))
        file.write(_cpio("init", stat.S_IFREG | 0o755, INIT.encode()))
        there = to.parent / "initrd-modules"
        shutil.rmtree(there, ignore_errors=True)
        keep_modules(modules, MODULES, there / "lib/modules" / modules.name, unpack=True)
        run(["depmod", "-b", str(there), modules.name], to.parent)
        for path in sorted(there.rglob("*")):
            mode, name = path.lstat().st_mode, path.relative_to(there).as_posix()
            file.write(_cpio(name, mode, b"" if path.is_dir() else _read(path)))
        file.write(_cpio("TRAILER!!!", 0, b""))


def keep_modules(source: Path, names: Sequence[str], to: Path, *, unpack: bool = False) -> None:
    """Copy modules of the kernel, all that they need, and the lists from which depmod goes on.

    `unpack`: decompress them; busybox reads no xz.
    """
    needs = {}
    for line in (source / "modules.dep").read_text(encoding="utf-8").splitlines():
        path, _, others = line.partition(":")
        needs[Path(path).name.partition(".")[0].replace("-", "_")] = [path, *others.split()]
    for name in names:
        for path in needs.get(name, ()):  # not there: built into the kernel
            target = to / (path.removesuffix(".xz") if unpack else path)
            target.parent.mkdir(parents=True, exist_ok=True)
            data = (source / path).read_bytes()
            target.write_bytes(lzma.decompress(data) if unpack and path.endswith(".xz") else data)
    for path in source.glob("modules.*"):
        if path.name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
            shutil.copy(path, to)


def _read(path: Path) -> bytes:
    return path.read_bytes()


_count = 0


def _cpio(name: str, mode: int, data: bytes) -> bytes:
    """One entry of a "newc" archive, which the kernel unpacks as its first file system."""
    global _count
    _count += 1
    encoded = name.encode() + b"\0"
    fields = (_count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
