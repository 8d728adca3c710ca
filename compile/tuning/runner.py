"""Runners measure what a candidate schedule costs."""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from statistics import median

import numpy as np
import tvm

from compile.codegen.lower import write_object
from compile.codegen.workloads import ScheduleConfig, Shape, kernels_of
from compile.kernels.base import OUT_STRIDE, Kernel
from compile.target.description import Target
from compile.target.toolchain import c_compiler, run

ALIGNMENT = 64
EVICTION_BYTES = 8 << 20
"""Memory written between two measurements, to evict the second-level cache."""


def buffer_sizes(kernel: Kernel) -> list[tuple[int, str]]:
    """Return (count, data type) for the buffer of each argument of `kernel`."""
    rows = []
    for buffer in kernel.function.params:
        shape = [int(extent) for extent in buffer.shape]
        count = int(np.prod(shape))
        if buffer.name == "O" and OUT_STRIDE in kernel.function.attrs:
            count = shape[0] * int(kernel.function.attrs[OUT_STRIDE])
        rows.append((count, str(buffer.dtype)))
    return rows


class Runner(ABC):
    """Measures what a candidate costs. Lower is better."""

    name: str
    unit: str
    noisy = False
    """Repeated measurements of one schedule differ."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.llvm = tvm.target.Target(target.llvm())

    @abstractmethod
    def cost(self, shape: Shape, config: ScheduleConfig) -> float:
        """Return the cost of all kernels of the workload together, in `unit`."""


class LocalRunner(Runner):
    """Measures CPU time on this machine, on one thread."""

    name = "local"
    unit = "us"
    noisy = True

    def __init__(self, target: Target, repeats: int = 9) -> None:
        super().__init__(target)
        self.repeats = repeats
        self._eviction = np.zeros(EVICTION_BYTES, np.uint8)

    def cost(self, shape: Shape, config: ScheduleConfig) -> float:
        """See `Runner.cost`. This is the sum of the kernels' medians."""
        kernels = kernels_of("candidate", shape, config, self.target.vector)
        with tempfile.TemporaryDirectory(prefix="edge-tune-") as folder:
            work = Path(folder)
            write_object(kernels, self.llvm, work / "kernels.o")
            compiler = c_compiler(self.target.triple)
            run([*compiler, "-shared", "kernels.o", "-o", "kernels.so"], work)
            library = ctypes.CDLL(os.fspath(work / "kernels.so"))
            return sum(self._time(library, kernel) for kernel in kernels)

    def _time(self, library: ctypes.CDLL, kernel: Kernel) -> float:
        function = library[kernel.name]
        function.restype = None
        buffers = [_filled(count, dtype) for count, dtype in buffer_sizes(kernel)]
        arguments = [ctypes.c_void_p(buffer.ctypes.data) for buffer in buffers]
        span = (ctypes.c_int32(0), ctypes.c_int32(kernel.tasks))
        names = [buffer.name for buffer in kernel.function.params]
        samples = []
        for _ in range(self.repeats + 1):
            self._set_caches(buffers, names)
            began = time.process_time_ns()
            function(*arguments, *span)
            samples.append((time.process_time_ns() - began) / 1e3)
        return median(samples[1:])

    def _set_caches(self, buffers: list[np.ndarray], names: list[str]) -> None:
        """Bring the caches into the state in which a kernel finds them.

        Its input is near. Its weights are not: all other layers' weights were read since its last
        run.
        """
        self._eviction[:] += 1
        for buffer, name in zip(buffers, names, strict=True):
            if name != "W":
                buffer.max()


def _filled(count: int, dtype: str) -> np.ndarray:
    """Return an aligned array of `count` normal (not denormal) numbers."""
    size = np.dtype(dtype).itemsize
    room = np.zeros(count * size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    numbers = room[start : start + count * size].view(dtype)
    numbers[:] = np.resize(np.arange(1, 14), count) / (1 if dtype == "uint8" else 100)
    return numbers
