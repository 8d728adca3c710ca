"""The fast emulator, as far as it can be tested without building it.

`make fast-emulator` itself rejects a build that computes differently from the installed emulator.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from compile.emulation.qemu import FOLDER, emulator_command
from compile.target.description import read_target
from compile.target.toolchain import c_compiler


def test_the_check_is_deterministic(tmp_path: Path) -> None:
    rpi5 = read_target("rpi5")
    program = tmp_path / "fma_check"
    subprocess.run(
        [*c_compiler(rpi5.triple), "-O2", "-static", "-march=armv8.2-a+fp16", "-Wall", "-Werror",
         FOLDER / "fma_check.c", "-o", program],
        check=True,
    )  # fmt: skip

    def digest(count: int) -> str:
        command = [*emulator_command(rpi5), str(program), str(count)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert digest(2000) == digest(2000) != digest(1999)
    assert len(digest(1)) == 17


def test_the_patch_is_complete() -> None:
    patch = FOLDER / "qemu_fma.patch"
    done = subprocess.run(
        ["git", "apply", "--numstat", patch], capture_output=True, text=True, check=True
    )
    files = [line.split("\t")[2] for line in done.stdout.splitlines()]
    names = ["fast_fma.h", "translate-a64.c", "vec_helper.c"]
    assert sorted(files) == [f"target/arm/{name}" for name in names]


def test_a_missing_tool_is_reported_with_its_package(tmp_path: Path) -> None:
    script = FOLDER / "fast_qemu.sh"
    done = subprocess.run(
        ["/bin/sh", script, tmp_path / "out"], capture_output=True, text=True, env={"PATH": ""}
    )
    assert done.returncode == 1
    assert done.stderr.startswith("fast_qemu: qemu-aarch64 is missing (apt install qemu-user")
    assert not (tmp_path / "out").exists()
