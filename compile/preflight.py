"""Check what `make compile` needs before anything is downloaded.

    python3 compile/preflight.py TARGET [--python PYTHON] [--environment FOLDER] ...

Needs only the standard library of any Python 3.7 or newer, since it runs before the compiler's own
environment exists. Prints one line per missing thing: what is missing, what it costs, and what to
do. Exit code 0: the compile can start, possibly with a limited result. 10: it cannot work.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEVICES = ROOT / "profiles" / "devices"
USERLAND = ROOT / "build" / "userland"
OLDEST, NEWEST = (3, 11), (3, 13)
PRECISIONS = ("fp32", "fp16", "int8")
WHEELS = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"))
"""Platforms with a wheel of TVM."""
DOWNLOAD_MB, DISK_MB, SECONDS = 370, 1350, 60
"""The environment for compiling: download, disk space, time on a fast connection."""
BUNDLE_MB = 100
"""Disk space for a build and its archive."""
USERLAND_DOWNLOAD_MB, USERLAND_DISK_MB = 110, 360
"""The arm64 system that runs ONNX Runtime under the emulator."""
EXIT_CODE = 10


class Findings:
    """Errors, which stop the compile, and notes, which limit its result or name a cost."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.notes: list[str] = []


def main(arguments: list[str] | None = None) -> int:
    """Run the command; see the module."""
    parser = argparse.ArgumentParser(prog="preflight", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--python", default="", help="the Python for the environment")
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-compile")
    parser.add_argument("--precision", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--photos", default="")
    parser.add_argument("--trials", default="")
    parser.add_argument("--pictures", default="")
    parser.add_argument("--runner", default="")
    options = parser.parse_args(arguments)
    findings = examine(options)
    for line in findings.errors or findings.notes:
        print(f"compile: {line}", file=sys.stderr)  # noqa: T201
    return EXIT_CODE if findings.errors else 0


def examine(options: argparse.Namespace) -> Findings:
    """Return all findings for the given options."""
    findings = Findings()
    _check_options(options, findings)
    _check_environment(options, findings)
    if not findings.errors:
        _check_tools(options, findings)
    return findings


def _check_options(options: argparse.Namespace, findings: Findings) -> None:
    devices = sorted(path.stem for path in DEVICES.glob("*.toml"))
    known = ["host", *devices]
    if options.target not in known:
        findings.errors.append(
            f"unknown TARGET {options.target}; use one of {', '.join(known)}, or describe the "
            "board in profiles/devices/"
        )
    if options.precision and options.precision not in PRECISIONS:
        findings.errors.append(
            f"unknown PRECISION {options.precision}; use one of {', '.join(PRECISIONS)}"
        )
    if options.precision == "fp16" and options.target in known and not _has_fp16(options.target):
        findings.errors.append(
            f"the CPU of {options.target} does not support fp16; use PRECISION=fp32 or int8"
        )
    for name in ("trials", "pictures"):
        value = getattr(options, name)
        if value and not re.fullmatch("[0-9]+", value):
            findings.errors.append(f"{name.upper()} must be a whole number, got {value}")
    if options.model and Path(options.model).is_dir():
        findings.errors.append(f"MODEL {options.model} is a folder; name an ONNX file")
    elif options.model and not Path(options.model).is_file():
        findings.errors.append(f"MODEL {options.model} does not exist; name an ONNX file")
    if options.photos and not Path(options.photos).is_dir():
        findings.errors.append(f"PHOTOS {options.photos} does not exist; name a folder of photos")


def _has_fp16(target: str) -> bool:
    """Whether the target has fp16 arithmetic, in its description or in /proc/cpuinfo."""
    path = Path("/proc/cpuinfo") if target == "host" else DEVICES / f"{target}.toml"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(re.search(r"^features\b.*\basimdhp\b", text, re.IGNORECASE | re.MULTILINE))


def _check_environment(options: argparse.Namespace, findings: Findings) -> None:
    """Check Python, the platform and the disk, if the environment has to be made."""
    free_mb = shutil.disk_usage(ROOT).free >> 20
    extra = {"the arm64 system": USERLAND_DISK_MB} if _unpacks_userland(options) else {}
    if (options.environment / ".ready").exists():
        _check_space(free_mb, {**extra, "a bundle": BUNDLE_MB}, findings)
        return
    here = (platform.system(), platform.machine())
    if here not in WHEELS:
        findings.errors.append(
            f"TVM has no wheel for {' '.join(here)}; compile on x86-64 or arm64 Linux, or on an "
            "arm64 Mac, and copy the bundle"
        )
    _check_python(options.python, findings)
    _check_space(free_mb, {"the environment": DISK_MB, **extra, "a bundle": BUNDLE_MB}, findings)
    findings.notes.append(
        f"no environment for compiling yet: downloading {DOWNLOAD_MB} MB into "
        f"{options.environment.name} ({DISK_MB / 1000:.1f} GB on disk, about {SECONDS} s)"
    )


def _check_python(python: str, findings: Findings) -> None:
    wanted, newest = (".".join(map(str, version)) for version in (OLDEST, NEWEST))
    if not python:
        findings.errors.append(
            f"Python {wanted} to {newest} not found; install it, or set PYTHON=/path/to/python3"
        )
        return
    script = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    if not _runs(python, script):
        findings.errors.append(
            f"{python} is not Python {wanted} or newer; name another: "
            "make compile PYTHON=/path/to/python3"
        )
    elif not _runs(python, "import ensurepip, venv"):
        findings.errors.append(
            f"{python} cannot make virtual environments; on Debian: apt install python3-venv"
        )


def _runs(python: str, script: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", script],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _unpacks_userland(options: argparse.Namespace) -> bool:
    """Whether a verification under the emulator may have to unpack the arm64 system."""
    is_arm = options.target != "host"
    can_unpack = shutil.which("qemu-aarch64") and shutil.which("apt-get")
    return bool(is_arm and can_unpack and not (USERLAND / "done").exists())


def _check_space(free_mb: int, needed_mb: dict[str, int], findings: Findings) -> None:
    total_mb = sum(needed_mb.values())
    if free_mb < total_mb:
        parts = ", ".join(f"{what} {size_mb:,} MB" for what, size_mb in needed_mb.items())
        findings.errors.append(
            f"{ROOT} has {free_mb:,} MB free, but the compile needs {total_mb:,} MB ({parts}); "
            "free some space"
        )


def _check_tools(options: argparse.Namespace, findings: Findings) -> None:
    """Check the linker and, for another CPU, the emulator."""
    is_host = options.target == "host"
    architecture = platform.machine() if is_host else "aarch64"
    compilers = [f"{architecture}-linux-gnu-gcc"]
    if architecture == platform.machine():
        compilers += ["cc", "gcc", "clang"]
    if not any(map(shutil.which, compilers)):
        package = "gcc" if is_host else f"gcc-{architecture}-linux-gnu"
        findings.notes.append(
            f"no C compiler for {architecture} (apt install {package}): the Python package ziglang "
            "links the library instead. Its bytes differ from GCC's, so stored evidence does not "
            "apply"
        )
    if not is_host:
        _check_emulator(options, findings)


def _check_emulator(options: argparse.Namespace, findings: Findings) -> None:
    unpacked = (USERLAND / "done").exists()
    if not shutil.which("qemu-aarch64"):
        problem = "no emulator qemu-aarch64 (apt install qemu-user)"
    elif not unpacked and not shutil.which("apt-get"):
        problem = (
            "no apt-get to unpack the arm64 system that runs ONNX Runtime (use Debian, Ubuntu)"
        )
    else:
        if not unpacked:
            findings.notes.append(
                "no arm64 system in build/userland yet: if the bundle's bytes are new, its "
                f"verification downloads {USERLAND_DOWNLOAD_MB} MB once ({USERLAND_DISK_MB} MB on "
                "disk, about a minute)"
            )
        return
    if options.trials not in ("", "0") and options.runner in ("", "emulator"):
        findings.errors.append(f"TRIALS={options.trials} needs the emulator: {problem}")
        return
    findings.notes.append(
        f"{problem}: unless stored evidence covers its bytes, the bundle is built but NOT "
        "VERIFIED, and the runtime uses it only with --allow-unverified"
    )


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
