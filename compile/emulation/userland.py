"""A small aarch64 system to run under the emulator: Debian's Python, the runtime and its wheels.

`make` sets it up once. It takes about a minute, downloads from a package index and from Debian's
archive, and needs no root, no chroot and no foreign architecture on this machine. The board's files
in /proc and /sys are written for each device, since QEMU would show this machine's. Several
processes may use the system at once, for several devices.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compile.target.description import Target
from compile.target.toolchain import c_compiler, run
from edge_runtime.errors import ToolchainError
from edge_runtime.system.durable import write_file

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "build" / "userland"
DEBIAN = (
    *("python3.11-minimal", "libpython3.11-stdlib", "libpython3.11-dev"),
    *("libstdc++6", "zlib1g", "libexpat1"),
)
PYTHON = "3.11"
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 26, 24, 17)] + [
    "manylinux2014_aarch64"
]
PARTS = {"cortex-a53": "0xd03", "cortex-a72": "0xd08", "cortex-a76": "0xd0b"}


class Userland:
    """An unpacked system. `command` runs its Python as on a device."""

    def __init__(
        self, root: Path = DEFAULT, packages: tuple[str, ...] = DEBIAN, release: str = ""
    ) -> None:
        """`release` is the code name of a Debian release (default: this machine's)."""
        self.root, self.site = root / "root", root / "site"
        self._packages, self._release = packages, release

    @property
    def is_made(self) -> bool:
        """Whether the system is unpacked already."""
        return (self.root.parent / "done").exists()

    def make(self) -> None:
        """Unpack what is missing; raises `ToolchainError`."""
        folder = self.root.parent
        done, runtime = folder / "done", folder / "runtime"
        with _locked(folder):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                self.unpack()
                self._install_wheels()
                done.touch()
            wanted = _digest(ROOT / "edge_runtime")
            if not runtime.exists() or runtime.read_text() != wanted:
                runtime.unlink(missing_ok=True)
                self._install_runtime()
                runtime.write_text(wanted)

    def unpack(self) -> None:
        """Unpack Debian's arm64 packages, using apt with all of its state in a temporary folder."""
        self.root.mkdir(parents=True)
        if not shutil.which("apt-get"):
            raise ToolchainError(
                "no apt-get here to unpack arm64 packages", remedy="use Debian or Ubuntu"
            )
        with tempfile.TemporaryDirectory(prefix="edge-apt-") as folder:
            state = Path(folder)
            for part in (
                "lists/partial",
                "cache/archives/partial",
                "etc/preferences.d",
                "etc/apt.conf.d",
                "etc/sources.list.d",
            ):
                (state / part).mkdir(parents=True)
            (state / "status").touch()
            codename = _release()
            query = ["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {codename}"]
            mirrors = sorted(set(run(query, state).split()))
            if not mirrors:
                run(["apt-get", "-qq", "update"], state)
                mirrors = sorted(set(run(query, state).split()))
            keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
            (state / "etc/sources.list").write_text(
                f"deb [signed-by={keys}] {mirrors[0]} {self._release or codename} main\n",
                encoding="utf-8",
            )
            (state / "apt.conf").write_text(
                f'APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }};\n'
                'APT::Install-Recommends "false"; APT::Sandbox::User "root";\n'
                f'Dir::State "{state}"; Dir::State::status "{state}/status";\n'
                f'Dir::Cache "{state}/cache"; Dir::Etc "{state}/etc";\n'
                'Acquire::Languages "none"; Debug::NoLocking "1";\n',
                encoding="utf-8",
            )
            environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf")}
            for command in (
                ["apt-get", "-qq", "update"],
                ["apt-get", "-qq", "-y", "--download-only", "install", *self._packages],
            ):
                run(command, state, environment=environment)
            for package in sorted((state / "cache/archives").glob("*.deb")):
                run(["dpkg-deb", "-x", str(package), str(self.root)], state)
        if not (self.root / "lib").exists():
            (self.root / "lib").symlink_to("usr/lib")
        for name in ("doc", "man", "locale"):
            shutil.rmtree(self.root / "usr/share" / name, ignore_errors=True)

    def _install_wheels(self) -> None:
        platforms = [part for name in PLATFORMS for part in ("--platform", name)]
        requirements = (ROOT / "requirements" / "demo.txt").read_text(encoding="utf-8")
        wanted = (
            "numpy",
            "onnxruntime",
            "opencv",
            "psutil",
            "click",
            "rich",
            "msgspec",
            "exifread",
            "markdown",
            "mdurl",
            "pygments",
            "flatbuffers",
            "protobuf",
            "packaging",
        )
        names = [
            line.split(";")[0].strip()
            for line in requirements.splitlines()
            if line.startswith(wanted) and ">= '3.12'" not in line
        ]
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--target",
                str(self.site),
                *platforms,
                "--python-version",
                PYTHON,
                "--implementation",
                "cp",
                "--only-binary=:all:",
                *names,
            ],
            self.root,
        )

    def _install_runtime(self) -> None:
        """Install the runtime as in its wheel, with the lookup compiled as setup.py does."""
        target = self.site / "edge_runtime"
        shutil.rmtree(target, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / "edge_runtime", target, ignore=ignored)
        headers = self.root / "usr" / "include"
        run(
            [
                *c_compiler("aarch64-linux-gnu"),
                *("-shared", "-fPIC", "-std=c11", "-O3", "-DPy_LIMITED_API=0x030B0000"),
                *(f"-I{headers}", f"-I{headers / ('python' + PYTHON)}"),
                *map(str, sorted((target / "native").glob("*.c"))),
                *("-o", str(target / "_hamming.abi3.so")),
            ],
            self.root,
        )

    def emulator(self, target: Target) -> list[str]:
        """Return the command that runs programs of this system; raises `ToolchainError`."""
        path = shutil.which("qemu-aarch64")
        if not path:
            raise ToolchainError("no emulator", where=target.name, remedy="apt install qemu-user")
        return [path, "-L", str(self.write_board(target)), "-cpu", target.emulated_as]

    def command(self, target: Target, *arguments: str, plugin: str = "") -> list[str]:
        """Return the command that runs this Python with `arguments` on the emulated CPU."""
        wrapper = self.board(target).with_name(f"{target.name}-python")
        settings = {
            "PYTHONPATH": str(self.site),
            "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",  # the installed runtime, not the one in the current folder
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            # OpenBLAS would take an unset value from this machine, of another architecture.
            "OPENBLAS_CORETYPE": "ARMV8",
            "EMULATED_PYTHON": str(wrapper),
        }
        emulator = self.emulator(target)
        rest = [part for name, value in settings.items() for part in ("-E", f"{name}={value}")]
        rest += [str(self.root / "usr/bin/python3.11"), "-s"]
        self._wrap_python([*emulator, *rest], wrapper)
        return [*emulator, *(["-plugin", plugin] if plugin else []), *rest, *arguments]

    def _wrap_python(self, command: list[str], wrapper: Path) -> None:
        """Write a wrapper for child processes, since this machine's kernel cannot start them."""
        _write(wrapper, f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        wrapper.chmod(0o755)
        _write(
            self.site / "sitecustomize.py",
            'import os, sys\n\nsys.executable = os.environ["EMULATED_PYTHON"]\n',
        )

    def run(
        self, target: Target, *arguments: str, plugin: str = "", timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with `arguments`. The caller checks the exit code."""
        command = self.command(target, *arguments, plugin=plugin)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)

    def board(self, target: Target) -> Path:
        """Return the device's own root folder."""
        return self.root.parent / "boards" / target.name

    def write_board(self, target: Target) -> Path:
        """Write the device's root: the system, and the device's files in /proc and /sys."""
        board = self.board(target)
        board.mkdir(parents=True, exist_ok=True)
        for entry in self.root.iterdir():
            if not (board / entry.name).is_symlink():
                with contextlib.suppress(FileExistsError):  # another process created it
                    (board / entry.name).symlink_to(entry)
        part = PARTS.get(target.cpu, "0xd08")
        features = " ".join(target.features)
        cpus = "".join(
            f"processor\t: {i}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\n"
            f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
            f"CPU part\t: {part}\nCPU revision\t: 3\n\n"
            for i in range(target.cores)
        )
        memory = target.memory_mib * 1024
        files = {
            "proc/cpuinfo": f"{cpus}Model\t\t: {target.board}\n",
            "proc/device-tree/model": f"{target.board}\0",
            "proc/meminfo": "".join(
                f"{name}: {value} kB\n"
                for name, value in (
                    ("MemTotal", memory),
                    ("MemFree", memory // 2),
                    ("MemAvailable", memory // 2),
                    ("Buffers", 0),
                    ("Cached", 0),
                    ("SwapTotal", 0),
                    ("SwapFree", 0),
                    ("Active", 0),
                    ("Inactive", 0),
                    ("Shmem", 0),
                    ("Slab", 0),
                    ("SReclaimable", 0),
                )
            ),
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
        }
        cores = f"0-{target.cores - 1}\n"
        for name in ("possible", "present", "online"):
            files[f"sys/devices/system/cpu/{name}"] = cores
        for index in range(target.cores):
            frequency = f"sys/devices/system/cpu/cpu{index}/cpufreq"
            for name in ("cpuinfo_max", "scaling_cur", "scaling_max", "scaling_min"):
                files[f"{frequency}/{name}_freq"] = f"{target.clock_mhz * 1000}\n"
            files[f"{frequency}/scaling_governor"] = "ondemand\n"
        for name, text in files.items():
            _write(board / name, text)
        return board


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, so that one process at a time makes it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, text: str) -> None:
    """Replace the file in one step if its text differs. Other processes may be reading it."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode())


def _digest(folder: Path) -> str:
    """Return the digest of every source file below `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".so", ".pyc"):
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _release() -> str:
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    entries = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return entries.get("VERSION_CODENAME", "bookworm").strip('"')
