"""The wheels of `make wheels`, each installed in a clean environment outside the checkout."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from device_tests.devices.emulated import device_with_wheel
from edge_runtime import __version__
from tests.support.processes import ROOT
from tests.support.scratch import write_scratch

pytestmark = pytest.mark.slow

Command = Callable[..., str]
"""Runs the installed Python with arguments, in the scratch folder; returns what it prints."""
WHERE = """
import edge_runtime, edge_runtime._hamming, edge_runtime._peak
from edge_runtime.model import find_model
print(edge_runtime.__version__, edge_runtime.__file__, find_model(), sep="\\n")
"""


@pytest.fixture(scope="module")
def wheels() -> dict[str, Path]:
    """Build both wheels, and return them by architecture."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests may run in several processes
        subprocess.run(["make", "--no-print-directory", "wheels"], cwd=ROOT, check=True)
    name = f"edge_runtime-{__version__}-cp311-abi3-manylinux_2_17_{{}}.whl"
    return {each: ROOT / "dist" / name.format(each) for each in ("x86_64", "aarch64")}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a few photos and a clip."""
    folder = write_scratch(tmp_path_factory.mktemp("scratch"))
    for label in (folder / "photos").iterdir():
        if label.name not in ("cat", "coffee cup"):
            shutil.rmtree(label)
    return folder


def _environment(scratch: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    return {**kept, "HOME": str(scratch)}


def _run(command: Sequence[str | Path], scratch: Path) -> str:
    done = subprocess.run(
        [*map(str, command)],
        cwd=scratch,
        env=_environment(scratch),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _check(python: Command, site: Path, scratch: Path) -> None:
    """Enroll, query and run as a user would."""
    version, package, model = python("-c", WHERE).splitlines()
    assert version == __version__
    assert Path(package).is_relative_to(site)
    assert Path(model).is_relative_to(site)
    gallery = str(scratch / f"{site.parent.name}.sqlite")
    command = ("-m", "edge_runtime")
    python(*command, "enroll", "--gallery", gallery, str(scratch / "photos"))
    photo = str(scratch / "photo.jpg")
    answer = json.loads(python(*command, "query", "--json", "--gallery", gallery, photo))
    assert answer["label"] == "cat"
    clip = str(scratch / "clip.mp4")
    lines = python(*command, "run", "--json", "--gallery", gallery, "--camera", clip).splitlines()
    events = [json.loads(line) for line in lines]
    assert [(each["kind"], each["label"]) for each in events[:-1]] == [("enter", "cat")]
    assert events[-1]["frames"] == 12


@pytest.mark.skipif(platform.machine() != "x86_64", reason="this wheel runs on x86_64")
def test_the_x86_64_wheel_works_in_a_new_environment(
    wheels: dict[str, Path], scratch: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    _run([sys.executable, "-m", "venv", environment], scratch)
    pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    pip += ["--constraint", ROOT / "requirements" / "demo.txt"]
    subprocess.run([*map(str, pip), str(wheels["x86_64"])], cwd=scratch, check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    _check(
        lambda *arguments: _run([environment / "bin/python", *arguments], scratch), site, scratch
    )
    assert __version__ in _run([environment / "bin" / "edge-runtime", "--version"], scratch)


@pytest.mark.skipif(
    not (shutil.which("qemu-aarch64") and shutil.which("apt-get")),
    reason="emulation is not available: apt install qemu-user",
)
def test_the_aarch64_wheel_works_on_an_emulated_board(
    wheels: dict[str, Path], scratch: Path, tmp_path: Path
) -> None:
    device = device_with_wheel("rpi4", wheels["aarch64"], tmp_path / "device")

    def python(*arguments: str) -> str:
        return _run(device.userland.command(device.target, *arguments), scratch)

    _check(python, device.userland.site, scratch)
