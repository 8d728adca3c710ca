"""What the cores can do whatever a program does: the yardsticks beside its times."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from edge_runtime.system.cpu import cpu_features

HERE = Path(__file__).resolve().parent.parent
NEAR_NS = 100
"""Cores that share a cache hand a line over in less; across a chip's clusters it takes twice to
four times as long."""

_ALONE = """
import json, sys, time
from statistics import median
import numpy as np
from edge_runtime.engine.compiled import CompiledEngine
engine = CompiledEngine(sys.argv[1])
size = engine.model.input.size
picture = np.zeros((size, size, 3), np.uint8)
samples = []
until = time.perf_counter() + 3
while time.perf_counter() < until:
    began = time.perf_counter()
    engine.hash(picture)
    samples.append(time.perf_counter() - began)
print(median(samples) * 1e3)
"""


class Program:
    """A small C program beside this module that prints one number."""

    def __init__(self, name: str, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-cores-")
        self._program = Path(self._folder.name) / name
        source = HERE / f"{name}.c"
        command = ["cc", "-O3", "-march=native", *flags, str(source), "-o", str(self._program)]
        self._built = _output(command) is not None

    def __call__(self) -> float | None:
        """The number; None: no C compiler here, or the program cannot measure it."""
        shown = _output([str(self._program)]) if self._built else None
        return float(shown.split()[0]) if shown else None


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_gmac_s() -> float | None:
    """Of one core, 1e9 float32 multiply-adds a second in registers; None: see `Program`."""
    features = cpu_features()
    size = 64 if "avx512f" in features else 32 if "avx2" in features else 16
    found = Program("peak", "-ffast-math", f"-DVECTOR_BYTES={size}")()
    return found / 1e9 if found else None


def handover() -> Program:
    """Nanoseconds that a cache line takes from one core to another. A virtual machine's cores are
    moved about by its host: near each other now, apart a second later."""
    return Program("handover", "-pthread")


def apart(bundle: Path) -> dict[str, float]:
    """Milliseconds of one process alone, and of two at once that share nothing: how much this
    machine's cores slow each other down, whatever a program does."""
    result = {}
    for name, count in (("one_process_p50_ms", 1), ("two_processes_p50_ms", 2)):
        command = [sys.executable, "-c", _ALONE, str(bundle)]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent)
            for _ in range(count)
        ]
        result[name] = median(float(process.communicate()[0]) for process in running)
    return result
