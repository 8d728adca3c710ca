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

from compile.kernels import separable, stem
from compile.kernels.base import OUT_STRIDE, Kernel
from compile.lower import write_object
from compile.plan import Knobs, vector_of
from compile.target import Target
from compile.toolchain import c_compiler, run

Shape = separable.Block | stem.Stem
ALIGNMENT = 64


def kernels_of(shape: Shape, knobs: Knobs, target: Target) -> list[Kernel]:
    """The kernels of a workload."""
    vector = vector_of(shape, target.vector)
    if isinstance(shape, stem.Stem):
        return [stem.kernel("candidate", shape, knobs, vector)]
    return separable.kernels("candidate", shape, knobs, vector)


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

    def __init__(self, target: Target) -> None:
        self.target = target
        self.llvm = tvm.target.Target(target.llvm())

    @abstractmethod
    def cost(self, shape: Shape, knobs: Knobs) -> float:
        """Of all kernels of the workload together, in `unit`."""


class LocalRunner(Runner):
    """CPU time on this machine, one thread."""

    name = "local"
    unit = "us"

    def __init__(self, target: Target, repeats: int = 9) -> None:
        super().__init__(target)
        self.repeats = repeats

    def cost(self, shape: Shape, knobs: Knobs) -> float:
        """See `Runner.cost`: the sum of the kernels' medians."""
        kernels = kernels_of(shape, knobs, self.target)
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
        function(*arguments, *span)
        samples = []
        for _ in range(self.repeats):
            began = time.process_time_ns()
            function(*arguments, *span)
            samples.append((time.process_time_ns() - began) / 1e3)
        return median(samples)


def _filled(count: int, dtype: str) -> np.ndarray:
    """Aligned numbers that are no denormals."""
    size = np.dtype(dtype).itemsize
    room = np.zeros(count * size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    numbers = room[start : start + count * size].view(dtype)
    numbers[:] = np.resize(np.arange(1, 14), count) / (1 if dtype == "uint8" else 100)
    return numbers
