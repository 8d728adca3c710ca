"""The checks before `make compile` downloads anything."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compile import preflight

SCRIPT = Path(preflight.__file__)


def options(folder: Path, **changes: str) -> argparse.Namespace:
    """Options of a first compile for rpi4, with `changes`."""
    return argparse.Namespace(
        **{
            "target": "rpi4",
            "python": sys.executable,
            "environment": folder / "none",
            "precision": "",
            "model": "",
            "photos": "",
            "trials": "",
            "pictures": "",
            "runner": "",
            **changes,
        }
    )


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The programs that the check finds; a test may remove some."""
    names = {"aarch64-linux-gnu-gcc", "cc", "qemu-aarch64", "apt-get"}
    monkeypatch.setattr(shutil, "which", lambda name: name if name in names else None)
    return names


def test_a_machine_with_everything_only_downloads(tmp_path: Path, tools: set[str]) -> None:
    findings = preflight.examine(options(tmp_path))
    assert not findings.errors
    assert f"downloading {preflight.DOWNLOAD_MB} MB" in findings.notes[0]
    (tmp_path / ".ready").touch()
    findings = preflight.examine(options(tmp_path, environment=tmp_path))  # type: ignore[arg-type]
    assert not any("downloading" in note for note in findings.notes)


def test_missing_tools_are_notes_with_package_and_consequence(
    tmp_path: Path, tools: set[str]
) -> None:
    tools.clear()
    findings = preflight.examine(options(tmp_path))
    assert not findings.errors
    linker, emulator = findings.notes[1:]
    assert "ziglang" in linker and "apt install gcc-aarch64-linux-gnu" in linker
    assert "apt install qemu-user" in emulator and "NOT VERIFIED" in emulator
    assert "--allow-unverified" in emulator


def test_the_arm64_system_is_downloaded_with_apt(
    tmp_path: Path, tools: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "USERLAND", tmp_path)
    assert f"downloads {preflight.USERLAND_DOWNLOAD_MB} MB" in _last_note(tmp_path)
    tools.remove("apt-get")
    note = _last_note(tmp_path)
    assert note.startswith("no apt-get") and "NOT VERIFIED" in note
    (tmp_path / "done").touch()
    assert "downloading" in _last_note(tmp_path), "only the environment is missing"


def _last_note(folder: Path) -> str:
    return preflight.examine(options(folder)).notes[-1]


def test_the_host_needs_no_emulator(tmp_path: Path, tools: set[str]) -> None:
    tools.remove("qemu-aarch64")
    assert len(preflight.examine(options(tmp_path, target="host")).notes) == 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"target": "rpi9"}, "unknown TARGET rpi9; use one of host, phone-a53"),
        ({"precision": "int4"}, "unknown PRECISION int4"),
        (
            {"precision": "fp16"},
            "the CPU of rpi4 does not support fp16; use PRECISION=fp32 or int8",
        ),
        ({"trials": "many"}, "TRIALS must be a whole number, got many"),
        ({"trials": "-1"}, "TRIALS must be a whole number, got -1"),
        ({"pictures": "1e3"}, "PICTURES must be a whole number, got 1e3"),
        ({"model": "/tmp"}, "MODEL /tmp is a folder; name an ONNX file"),
        ({"model": "/none.onnx"}, "MODEL /none.onnx does not exist"),
        ({"photos": "/none"}, "PHOTOS /none does not exist"),
        ({"python": ""}, "Python 3.11 to 3.13 not found"),
        ({"python": "/none/python"}, "/none/python is not Python 3.11 or newer"),
    ],
)
def test_what_cannot_work_is_an_error(
    changes: dict[str, str], complaint: str, tmp_path: Path, tools: set[str]
) -> None:
    errors = preflight.examine(options(tmp_path, **changes)).errors
    assert len(errors) == 1 and errors[0].startswith(complaint)
    assert "\n" not in errors[0]


def test_valid_numbers_and_fp16_where_the_cpu_has_it(tmp_path: Path, tools: set[str]) -> None:
    changes = {"precision": "fp16", "trials": "0", "pictures": "1000"}
    assert not preflight.examine(options(tmp_path, target="rpi5", **changes)).errors


def test_a_full_disk(tmp_path: Path, tools: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=500 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(preflight, "USERLAND", tmp_path)
    (error,) = preflight.examine(options(tmp_path, target="host")).errors
    assert "500 MB free" in error and "needs 1,450 MB" in error
    (error,) = preflight.examine(options(tmp_path)).errors
    assert "needs 1,810 MB" in error and "the arm64 system 360 MB" in error
    (tmp_path / ".ready").touch()
    assert not preflight.examine(options(tmp_path, environment=tmp_path)).errors  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["qemu-aarch64", "apt-get"])
def test_the_arm64_system_takes_no_space_if_it_is_not_unpacked(
    missing: str, tmp_path: Path, tools: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=200 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(preflight, "USERLAND", tmp_path)
    (tmp_path / ".ready").touch()
    ready = options(tmp_path, environment=tmp_path)  # type: ignore[arg-type]
    (error,) = preflight.examine(ready).errors
    assert "needs 460 MB" in error
    tools.remove(missing)
    assert not preflight.examine(ready).errors
    tools.add(missing)
    (tmp_path / "done").touch()
    assert not preflight.examine(ready).errors


def test_a_python_without_venv(tmp_path: Path, tools: set[str]) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    (error,) = preflight.examine(options(tmp_path, python=str(python))).errors
    assert (
        error == f"{python} cannot make virtual environments; on Debian: apt install python3-venv"
    )


def test_a_platform_without_tvm(
    tmp_path: Path, tools: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "armv7l")
    (error,) = preflight.examine(options(tmp_path)).errors
    assert error.startswith("TVM has no wheel for Linux armv7l")


def test_a_search_without_an_emulator(tmp_path: Path, tools: set[str]) -> None:
    tools.remove("qemu-aarch64")
    (error,) = preflight.examine(options(tmp_path, trials="40")).errors
    assert error.startswith("TRIALS=40 needs the emulator")
    assert not preflight.examine(options(tmp_path, trials="40", runner="rpc:board:9090")).errors


def test_the_script_needs_only_the_standard_library(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(SCRIPT)]
    command += ["--environment", str(tmp_path), "--python"]
    bare = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [*command, sys.executable, "rpi4"], env=bare, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("compile: ") for line in done.stderr.splitlines())
    assert "NOT VERIFIED" in done.stderr and not done.stdout
    done = subprocess.run([*command, "", "rpi9"], env=bare, capture_output=True, text=True)
    assert done.returncode == preflight.EXIT_CODE
    assert done.stderr.count("\n") == 2
