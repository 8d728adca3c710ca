"""The thread pool on its own, also under the thread and address sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"


@pytest.mark.parametrize("sanitizer", ["", "thread", "address,undefined"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_runs_once(sanitizer: str, threads: int, tmp_path: Path) -> None:
    command = ["cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}"]
    if sanitizer:
        command.append(f"-fsanitize={sanitizer}")
    program = tmp_path / "pool"
    built = subprocess.run(
        [*command, NATIVE / "pool.c", HERE / "pool_test.c", "-o", program, "-pthread"],
        capture_output=True,
        text=True,
    )
    if sanitizer and "sanitize" in built.stderr + built.stdout and built.returncode:
        pytest.skip("this compiler has no sanitizer")
    assert built.returncode == 0, built.stderr
    fixed = ["setarch", "-R"] if sanitizer == "thread" else []  # TSan fails on randomized addresses
    done = subprocess.run(
        [*fixed, program, str(threads), "20000" if not sanitizer else "4000"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
