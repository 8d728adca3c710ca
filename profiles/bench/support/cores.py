"""Properties of the CPU cores that are independent of the measured program."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from edge_runtime.system.cpu import cpu_features

HERE = Path(__file__).resolve().parent.parent
NEAR_NS = 100
"""Cores that share a cache hand a cache line over in less time. Across the clusters of a chip it
takes two to four times as long."""

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
    """A small C program of profiles/bench that prints one number."""

    def __init__(self, name: str, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-cores-")
        self._program = Path(self._folder.name) / name
        source = HERE / f"{name}.c"
        command = ["cc", "-O3", "-march=native", *flags, str(source), "-o", str(self._program)]
        self._built = _output(command) is not None

    def __call__(self) -> float | None:
        """Run it and return the number, or None without a C compiler or if it cannot measure."""
        output = _output([str(self._program)]) if self._built else None
        return float(output.split()[0]) if output else None


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_gmac_s() -> float | None:
    """Return the peak of one core in 1e9 float32 multiply-adds per second, in registers.

    None as for `Program`.
    """
    features = cpu_features()
    size = 64 if "avx512f" in features else 32 if "avx2" in features else 16
    rate = Program("peak", "-ffast-math", f"-DVECTOR_BYTES={size}")()
    return rate / 1e9 if rate else None


def handover() -> Program:
    """Return a program that measures the nanoseconds a cache line takes from core to core.

    The host of a virtual machine moves its cores about, so the value can change within a second.
    """
    return Program("handover", "-pthread")


def apart(bundle: Path) -> dict[str, float]:
    """Return the milliseconds per code of one process alone and of two independent ones at once.

    The difference shows how much this machine's cores slow each other down.
    """
    result = {}
    for name, count in (("one_process_p50_ms", 1), ("two_processes_p50_ms", 2)):
        command = [sys.executable, "-c", _ALONE, str(bundle)]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent)
            for _ in range(count)
        ]
        result[name] = median(float(process.communicate()[0]) for process in running)
    return result
