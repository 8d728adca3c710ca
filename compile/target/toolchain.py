"""The tools that a compile needs: the pinned TVM and a C compiler for the target."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from edge_runtime.errors import ToolchainError

TVM, FFI = "0.27.0.post1", "0.1.14.post1"
"""The pinned versions. Other versions of tvm-ffi import and compile, but crash in parts of TVM."""
GLIBC = "2.28"
"""The oldest C library that bundles linked by ziglang run on (Debian 10, Raspberry Pi OS 2019)."""


def check_tvm() -> None:
    """Raise `ToolchainError` unless the pinned pair is installed."""
    for package, pinned in (("apache-tvm", TVM), ("apache-tvm-ffi", FFI)):
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != pinned:
            raise ToolchainError(
                f"version {pinned} is required, got {found}",
                where=package,
                remedy=f"run make setup-compile, or pip install {package}=={pinned}",
            )


def c_compiler(triple: str, *, static: bool = False) -> list[str]:
    """Return the command of a C compiler for `triple`; raises `ToolchainError`.

    This is cc for the machine's own architecture and GCC's cross compiler for another one. If there
    is none, it is the compiler in the Python package ziglang. `static` is for programs that run
    without a C library of the target; ziglang links them with musl.
    """
    alone = ["-static"] if static else []
    architecture = triple.split("-")[0]
    names = [f"{architecture}-linux-gnu-gcc"]
    if architecture == platform.machine():
        names += ["cc", "gcc", "clang"]
    for name in names:
        if path := shutil.which(name):
            return [path, *alone]
    if importlib.util.find_spec("ziglang"):
        return [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            f"{architecture}-linux-musl" if static else f"{architecture}-linux-gnu.{GLIBC}",
            *alone,
        ]
    raise ToolchainError(
        f"no C compiler for {architecture}",
        where=triple,
        remedy=f"apt install gcc-{architecture.replace('_', '-')}-linux-gnu or pip install ziglang",
    )


def run(
    command: list[str],
    cwd: Path,
    *,
    stderr: bool = False,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a tool and return its output; raises `ToolchainError` with its error message."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        wrong = next((line for line in lines if "error" in line), lines[-1])
        raise ToolchainError(f"exit code {done.returncode}: {wrong}", where=Path(command[0]).name)
    return done.stderr if stderr else done.stdout


def version_of(compiler: list[str]) -> str:
    """Return the first line of the compiler's version message."""
    return run([*compiler, "--version"], Path.cwd()).splitlines()[0]
