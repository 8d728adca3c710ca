"""A whole emulated ARM machine, with a kernel, a camera and the daemon.

    python -m device_tests.machine [--log FILE]

QEMU's `virt` board with four Cortex-A72 boots Debian's arm64 kernel; everything else lies in one
initial file system: the small Debian of `compile.userland`, the runtime, the shipped network, and
the modules of the kernel's virtual V4L2 camera. `guest.py` is what it does. Times are emulated and
mean nothing. Exit code 9: it did not pass.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from compile.toolchain import run
from compile.userland import DEFAULT, ROOT, Userland
from edge_runtime.errors import EXIT_VERDICT, ToolchainError
from edge_runtime.model import MODEL_FILE

PACKAGES = ("linux-image-arm64", "busybox-static")
MODULES = ("vivid",)
LIMIT_S = 900
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp
export PATH=/bin:/usr/bin HOME=/tmp PYTHONPATH=/site PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
export OPENBLAS_NUM_THREADS=1 EDGE_RUNTIME_MODEL=/model.onnx
/usr/bin/python3.11 -s /guest.py
poweroff -f
"""


def build(folder: Path) -> tuple[Path, Path]:
    """The kernel and the initial file system; raises `ToolchainError`."""
    for tool in ("qemu-system-aarch64", "depmod"):
        if not shutil.which(tool) and not Path("/usr/sbin", tool).exists():
            raise ToolchainError(
                f"{tool} is missing", remedy="apt install qemu-system-arm kmod (Debian)"
            )
    userland = Userland()
    userland.make()
    system = Userland(DEFAULT.parent / "kernel", PACKAGES)
    if not (system.root / "boot").is_dir():
        shutil.rmtree(system.root, ignore_errors=True)
        system.unpack()
    (version,) = [path.name for path in (system.root / "lib" / "modules").iterdir()]
    image = folder / "initrd"
    with image.open("wb") as file:
        for entry in _entries(userland, system.root, version, folder):
            file.write(entry)
        file.write(_cpio("TRAILER!!!", 0, b""))
    return system.root / "boot" / f"vmlinuz-{version}", image


def _entries(userland: Userland, kernel: Path, version: str, folder: Path) -> Iterator[bytes]:
    for name in ("proc", "sys", "dev", "tmp", "run", "site", "bin"):
        yield _cpio(name, stat.S_IFDIR | 0o755, b"")
    yield from _tree(userland.root, "", skip={"proc", "sys", "dev", "tmp", "run", "bin"})
    yield from _tree(userland.site, "site/", skip={"sitecustomize.py"})
    yield _cpio("bin/busybox", stat.S_IFREG | 0o755, (kernel / "bin/busybox").read_bytes())
    yield _cpio("init", stat.S_IFREG | 0o755, INIT.encode())
    guest = Path(__file__).with_name("guest.py").read_bytes()
    yield _cpio("guest.py", stat.S_IFREG | 0o644, guest)
    model = (ROOT / "models" / MODEL_FILE).read_bytes()
    yield _cpio("model.onnx", stat.S_IFREG | 0o644, model)
    yield _cpio("lib/modules", stat.S_IFDIR | 0o755, b"")
    yield from _tree(_modules(kernel, version, folder), "lib/modules/")


def _modules(kernel: Path, version: str, folder: Path) -> Path:
    """The wanted modules and all that they need, with the lists that modprobe reads."""
    source = kernel / "lib" / "modules" / version
    run(["depmod", "-b", str(kernel), version], folder)
    needs = {}
    for line in (source / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[Path(path).name.partition(".")[0].replace("-", "_")] = [path, *others.split()]
    wanted = folder / "modules"
    shutil.rmtree(wanted, ignore_errors=True)
    for name in MODULES:
        for path in needs[name]:
            target = wanted / version / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, target)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        if (source / name).exists():
            shutil.copy(source / name, wanted / version)
    top = folder / "depmod" / "lib"
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    (top / "modules").symlink_to(wanted)
    run(["depmod", "-b", str(top.parent), version], folder)
    return wanted


def _tree(root: Path, prefix: str, skip: Collection[str] = ()) -> Iterator[bytes]:
    """Every file below `root` as entries of the archive, folders before what is in them."""
    for folder, names, files in os.walk(root):
        here = Path(folder)
        if here == root:
            names[:] = [name for name in names if name not in skip]
            files = [name for name in files if name not in skip]
        names.sort()
        for name in sorted([*names, *files]):
            path = here / name
            place = prefix + path.relative_to(root).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield _cpio(place, mode, str(path.readlink()).encode())
            elif stat.S_ISDIR(mode):
                yield _cpio(place, mode, b"")
            elif stat.S_ISREG(mode):
                yield _cpio(place, mode, path.read_bytes())


_count = 0


def _cpio(name: str, mode: int, data: bytes) -> bytes:
    """One entry of a "newc" archive, which the kernel unpacks as its first file system."""
    global _count
    _count += 1
    encoded = name.encode() + b"\0"
    fields = (_count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def boot(kernel: Path, image: Path, log: Path) -> bool:
    """Run it, with its console on stderr and in `log`; whether it passed."""
    command = [
        *("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "4", "-m", "2048"),
        *("-kernel", str(kernel), "-initrd", str(image), "-nographic", "-no-reboot"),
        *("-nic", "none"),
        *("-append", "console=ttyAMA0 rdinit=/init panic=-1 quiet loglevel=4"),
    ]
    passed = False
    with log.open("w", encoding="utf-8") as file:
        child = subprocess.Popen(
            ["timeout", str(LIMIT_S), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert child.stdout
        for line in child.stdout:
            clean = "".join(c for c in line.rstrip() if c.isprintable())
            file.write(clean + "\n")
            file.flush()
            click.echo(clean, err=True)
            passed |= clean.endswith("] PASS")
        child.wait()
    return passed


@click.command(help=__doc__)
@click.option("--log", type=click.Path(path_type=Path), default=Path("build/machine/console.log"))
def main(log: Path) -> None:
    """Command: see the module."""
    folder = ROOT / "build" / "machine"
    folder.mkdir(parents=True, exist_ok=True)
    sys.exit(0 if boot(*build(folder), log) else EXIT_VERDICT)


if __name__ == "__main__":
    main()
