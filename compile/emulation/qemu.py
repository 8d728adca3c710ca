"""Run and count programs on an emulated ARM CPU (QEMU in user mode).

The counts (emulation/counts.c) are exact and repeatable, but they are not times. `Counts.cycles`
turns them into an estimate with the three numbers in the device's [cost]: cycles per instruction,
and cycles lost per miss of the first- and of the second-level cache.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from compile import cache
from compile.emulation.counters import CLASSES, Counts
from compile.emulation.picture_file import write_pictures
from compile.emulation.userland import Userland
from compile.target.description import Target
from compile.target.toolchain import c_compiler, run, version_of
from edge_runtime.errors import ToolchainError
from edge_runtime.image import Image

FOLDER = Path(__file__).resolve().parent
PART = 10
"""Pictures per emulated process. One picture takes half a second (int8) to eleven (fp16)."""
SYSROOT = Path("/usr/aarch64-linux-gnu")
PACKAGES = "apt install qemu-user gcc-aarch64-linux-gnu"


def missing_for_emulation(target: Target) -> str | None:
    """Return why nothing can be verified on an emulated `target` here, or None if it can be."""
    if not shutil.which("qemu-aarch64"):
        return f"there is no emulator of {target.cpu} here (apt install qemu-user)"
    if not Userland().is_made and not shutil.which("apt-get"):
        return "there is no apt-get here to unpack the arm64 system that runs ONNX Runtime"
    return None


def emulator_command(target: Target) -> list[str]:
    """Return the command that runs programs for `target`; raises `ToolchainError`."""
    path = shutil.which("qemu-aarch64")
    if not path or not target.triple.startswith("aarch64"):
        raise ToolchainError(f"no emulator for {target.triple}", where=target.name, remedy=PACKAGES)
    return [path, "-L", str(_c_library()), "-cpu", target.emulated_as]


@functools.cache
def _c_library() -> Path:
    """Return the folder of the emulated C library: the cross compiler's, else the userland's."""
    if (SYSROOT / "lib").is_dir():
        return SYSROOT
    userland = Userland()
    userland.make()
    return userland.root


def emulator_version(target: Target) -> str:
    """Return the emulator's version, such as 7.2.22; raises `ToolchainError`."""
    line = version_of(emulator_command(target)[:1])  # qemu-aarch64 version 7.2.22 (Debian ...)
    return line.partition("version ")[2].split(" ")[0] or line


def emulated_codes(
    library: Path, pictures: Image, target: Target, log: Callable[[str], None] = lambda text: None
) -> list[str]:
    """Return the codes, in hexadecimal, that `library` computes for `pictures` [N, S, S, 3].

    One process per core hashes part after part. Finished parts are cached, so an interrupted
    verification of an hour continues where it stopped.
    """
    workers = len(os.sched_getaffinity(0))
    size = min(PART, -(-len(pictures) // workers))
    parts = [pictures[at : at + size] for at in range(0, len(pictures), size)]
    began, fresh = time.monotonic(), 0
    codes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="edge-emulate-") as folder:
        work = Path(folder)
        program, version = _build_measure(library, target, work), emulator_version(target)

        def codes_of(number: int) -> tuple[list[str], bool]:
            key = cache.digest(
                *("emulated", library, FOLDER / "measure.c", target.emulated_as, version),
                parts[number],
                compiler=False,
            )
            computed = not cache.has_json(key)

            def compute() -> dict[str, Any]:
                file = work / f"{number}.bgr"
                write_pictures(parts[number], file)
                output = run([*emulator_command(target), str(program), str(file), "1", "0"], work)
                file.unlink()
                return {"codes": output.split()}

            return cache.cached_json(key, compute)["codes"], computed

        with ThreadPoolExecutor(workers) as pool:
            try:
                for number, (some, computed) in enumerate(pool.map(codes_of, range(len(parts)))):
                    codes += some
                    fresh += computed
                    if number * 10 // len(parts) < (number + 1) * 10 // len(parts) and fresh > 9:
                        left_s = (time.monotonic() - began) / fresh * (len(parts) - number - 1)
                        log(
                            f"{len(codes):,} of {len(pictures):,} pictures hashed on the emulated "
                            f"{target.emulated_as}, {left_s / 60:.0f} minutes left"
                        )
            except BaseException:  # on Ctrl-C, too: finish what runs, start nothing new
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return codes


def count_library(library: Path, pictures: Path, target: Target) -> Counts:
    """Count one warm call of `library`: the one for the last of `pictures`."""
    with tempfile.TemporaryDirectory(prefix="edge-count-") as folder:
        program = _build_measure(library, target, Path(folder))
        return _count([str(program), str(pictures), "1", "1"], target, Path(folder))[-1]


def count_program(program: Path, target: Target, *arguments: str) -> list[Counts]:
    """Count what a static program for `target` does between each pair of its marks."""
    with tempfile.TemporaryDirectory(prefix="edge-count-") as folder:
        return _count([str(program), *arguments], target, Path(folder))


ONNXRUNTIME = """
import ctypes, sys
import numpy as np
from edge_runtime.engine.portable import PortableEngine
engine = PortableEngine(sys.argv[1])
size = engine.model.input.size
engine._tensor[:] = np.linspace(-1, 1, engine._tensor.size).reshape(engine._tensor.shape)
run = lambda: engine._session.run([engine._output], {engine._input: engine._tensor})
mark = ctypes.CDLL(None).prctl
run()
mark(0x45444745, 1)
run()
mark(0x45444745, 2)
"""


def count_onnxruntime(userland: Userland, model: Path, target: Target) -> Counts:
    """Count one warm call of ONNX Runtime on one thread, without preprocessing."""
    return count_script(userland, target, ONNXRUNTIME, str(model.resolve()))


def count_script(userland: Userland, target: Target, script: str, *arguments: str) -> Counts:
    """Count what a Python script does between its last two marks."""
    return count_marks(userland, target, "-c", script, *arguments)[0][-1]


def count_marks(
    userland: Userland, target: Target, *arguments: str, timeout: float = 600
) -> tuple[list[Counts], str]:
    """Run Python with `arguments`; return the counts between each pair of marks, and stdout.

    Raises `ToolchainError`, also if it takes longer than `timeout` seconds.
    """
    userland.emulator(target)  # report a missing emulator before a missing compiler
    options = _plugin_options(target)
    try:
        done = userland.run(target, *arguments, plugin=options, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(
            f"the emulated program took longer than {timeout:.0f} s", where=target.name
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ToolchainError(f"the emulated program failed: {last}", where=target.name)
    return _regions(done.stderr), done.stdout


def _build_measure(library: Path, target: Target, work: Path) -> Path:
    native = FOLDER.parent / "native"
    program = work / "measure"
    run(
        [
            *c_compiler(target.triple),
            "-O2",
            f"-I{native}",
            str(FOLDER / "measure.c"),
            str(library.resolve()),
            f"-Wl,-rpath,{library.resolve().parent}",
            "-o",
            str(program),
        ],
        work,
    )
    return program


def _count(command: list[str], target: Target, work: Path) -> list[Counts]:
    fixed = ["setarch", "-R"] if shutil.which("setarch") else []  # the same addresses in every run
    command = [*fixed, *emulator_command(target), "-plugin", _plugin_options(target), *command]
    return _regions(run(command, work, stderr=True))


def _plugin_options(target: Target) -> str:
    return (
        f"{_plugin()},l1_kib={target.l1d_kib},l1_ways={target.l1d_ways},"
        f"l2_kib={target.l2_kib},l2_ways={target.l2_ways}"
    )


def _regions(log: str) -> list[Counts]:
    regions = []
    for line in log.splitlines():
        if line.startswith("EDGE "):
            numbers = dict(part.split("=") for part in line.split()[1:])
            by_class = {name: int(numbers[name]) for name in CLASSES}
            misses = int(numbers["l1"]), int(numbers["l2"])
            regions.append(Counts(by_class, *misses, int(numbers["bytes"])))
    if not regions:
        raise ToolchainError(
            "the emulator counted nothing; version 7.2 is required",
            where="qemu-aarch64",
            remedy=PACKAGES,
        )
    return regions


@functools.cache
def _plugin() -> Path:
    """Build the counting plugin, once per process."""
    folder = Path(tempfile.mkdtemp(prefix="edge-plugin-"))
    compiler = c_compiler(f"{os.uname().machine}-linux-gnu")
    source = str(FOLDER / "counts.c")
    run([*compiler, "-O2", "-shared", "-fPIC", "-Wall", source, "-o", "counts.so"], folder)
    return folder / "counts.so"
