"""Runners: what a candidate costs, on this CPU or on an emulated one."""

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
from compile.codegen.plan import ScheduleConfig, kernels_of
from compile.kernels import separable, stem
from compile.kernels.base import OUT_STRIDE, Kernel
from compile.target.description import Target
from compile.target.toolchain import c_compiler, run

Shape = separable.Block | stem.Stem
ALIGNMENT = 64
OTHER_BYTES = 8 << 20
"""Memory that is written between two measurements: more than a second-level cache holds."""


def buffer_numbers(kernel: Kernel) -> list[tuple[int, str]]:
    """Room for each of a kernel's arguments: numbers, and their type."""
    rows = []
    for buffer in kernel.function.params:
        shape = [int(extent) for extent in buffer.shape]
        count = int(np.prod(shape))
        if buffer.name == "O" and OUT_STRIDE in kernel.function.attrs:
            count = shape[0] * int(kernel.function.attrs[OUT_STRIDE])
        rows.append((count, str(buffer.dtype)))
    return rows


class Runner(ABC):
    """Says what a candidate costs; lower is better."""

    name: str
    unit: str
    noisy = False
    """The same choice does not cost the same each time."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.llvm = tvm.target.Target(target.llvm())

    @abstractmethod
    def cost(self, shape: Shape, knobs: ScheduleConfig) -> float:
        """Of all kernels of the workload together, in `unit`."""


class LocalRunner(Runner):
    """CPU time on this machine, one thread."""

    name = "local"
    unit = "us"
    noisy = True

    def __init__(self, target: Target, repeats: int = 9) -> None:
        super().__init__(target)
        self.repeats = repeats
        self._other = np.zeros(OTHER_BYTES, np.uint8)

    def cost(self, shape: Shape, knobs: ScheduleConfig) -> float:
        """See `Runner.cost`: the sum of the kernels' medians."""
        kernels = kernels_of("candidate", shape, knobs, self.target.vector)
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
        buffers = [_filled(count, dtype) for count, dtype in buffer_numbers(kernel)]
        arguments = [ctypes.c_void_p(buffer.ctypes.data) for buffer in buffers]
        span = (ctypes.c_int32(0), ctypes.c_int32(kernel.tasks))
        names = [buffer.name for buffer in kernel.function.params]
        samples = []
        for _ in range(self.repeats + 1):
            self._cool(buffers, names)
            began = time.process_time_ns()
            function(*arguments, *span)
            samples.append((time.process_time_ns() - began) / 1e3)
        return median(samples[1:])

    def _cool(self, buffers: list[np.ndarray], names: list[str]) -> None:
        """The caches as a kernel finds them: its input is near, its weights are not, since all
        other layers' weights have passed through since it last ran."""
        self._other[:] += 1
        for buffer, name in zip(buffers, names, strict=True):
            if name != "W":
                buffer.max()


def _filled(count: int, dtype: str) -> np.ndarray:
    """Aligned numbers that are no denormals."""
    size = np.dtype(dtype).itemsize
    room = np.zeros(count * size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    numbers = room[start : start + count * size].view(dtype)
    numbers[:] = np.resize(np.arange(1, 14), count) / (1 if dtype == "uint8" else 100)
    return numbers
