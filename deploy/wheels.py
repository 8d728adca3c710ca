"""Build the source distribution, and from it one wheel per architecture, into a folder.

    python deploy/wheels.py dist

Runs in the environment of requirements/wheels.txt (`make wheels`). Zig compiles for both
architectures and links against the symbols of an old glibc, so the platform tag does not depend on
the machine that builds. auditwheel then checks that the tag is true.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURES = ("x86_64", "aarch64")
GLIBC = "2.17"
"""The oldest glibc that the wheels run on (manylinux2014, as the tag says)."""
EXTENSIONS = {"edge_runtime/_hamming.abi3.so", "edge_runtime/_peak.abi3.so"}


def run(*command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Return what `command` prints; exit with its messages if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"wheels: {shlex.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(kind: str, source: Path, out: Path, environment: dict[str, str], *options: str) -> Path:
    """Return the distribution of `kind` (sdist or wheel) built from `source`."""
    with tempfile.TemporaryDirectory(dir=out) as folder:
        command = ("-m", "build", "--no-isolation", f"--{kind}", "--outdir", folder, *options)
        run(sys.executable, *command, ".", cwd=source, environment=environment)
        (built,) = Path(folder).iterdir()
        return built.replace(out / built.name)


def cross_environment(architecture: str, scratch: Path) -> dict[str, str]:
    """Return the environment in which setuptools compiles for `architecture`."""
    headers = ""
    # Debian's pyconfig.h includes the one of an architecture. The parts used here are the same on
    # every 64-bit Linux.
    debian = Path("/usr/include", sysconfig.get_config_var("MULTIARCH") or "none")
    if debian.is_dir():
        scratch.joinpath("include").mkdir(exist_ok=True)
        link = scratch / "include" / f"{architecture}-linux-gnu"
        link.mkdir()
        for folder in debian.glob("python3*"):
            (link / folder.name).symlink_to(folder)
        headers = f" -I{shlex.quote(str(scratch / 'include'))}"
    compiler = (
        f"{shlex.quote(sys.executable)} -m ziglang cc -target {architecture}-linux-gnu.{GLIBC}"
    )
    # Zig builds its own runtime library when it links, optimized only if -O3 is given there too.
    return {
        **os.environ,
        "CC": compiler + headers,
        "LDSHARED": f"{compiler} -shared -O3 -s",
        "_PYTHON_HOST_PLATFORM": f"linux-{architecture}",
    }


def check(wheel: Path, architecture: str) -> None:
    """Exit unless both extensions are in `wheel` and need no glibc newer than `GLIBC`."""
    missing = EXTENSIONS - set(zipfile.ZipFile(wheel).namelist())
    if missing:
        sys.exit(f"wheels: {wheel.name} lacks {', '.join(sorted(missing))}: they did not compile")
    report = run(sys.executable, "-m", "auditwheel", "show", "--json", str(wheel))
    tag = json.loads(report)["overall_tag"]
    glibc = re.fullmatch(rf"manylinux_2_(\d+)_{architecture}", tag)
    if glibc is None or int(glibc[1]) > int(GLIBC.split(".")[1]):
        sys.exit(f"wheels: {wheel.name} is only {tag}")


def main(out: Path) -> None:
    """Build everything into `out`, and print the paths."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edge-wheels-") as folder:
        scratch = Path(folder)
        sdist = build("sdist", ROOT, out, dict(os.environ))
        shutil.unpack_archive(sdist, scratch)
        (source,) = scratch.glob("edge_runtime-*")
        wheels = []
        for architecture in ARCHITECTURES:
            tag = f"manylinux_{GLIBC.replace('.', '_')}_{architecture}"
            option = f"-C--build-option=--plat-name={tag}"
            environment = cross_environment(architecture, scratch)
            wheel = build("wheel", source, out, environment, option)
            check(wheel, architecture)
            wheels.append(wheel)
    sys.stdout.writelines(f"{path}\n" for path in (sdist, *wheels))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python deploy/wheels.py FOLDER")
    main(Path(sys.argv[1]).resolve())
