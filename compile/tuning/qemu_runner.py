"""The runner for boards that are not at hand: cycles estimated from an emulated CPU's counts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from compile.codegen.lower import write_object
from compile.codegen.workloads import ScheduleConfig, Shape, kernels_of
from compile.emulation.counters import Counts
from compile.emulation.qemu import count_program
from compile.kernels.base import Kernel
from compile.target.toolchain import c_compiler, run
from compile.tuning.runner import Runner, buffer_sizes


class EmulatorRunner(Runner):
    """Estimates cycles on an emulated CPU."""

    name = "emulator"
    unit = "cycles"

    def cost(self, shape: Shape, config: ScheduleConfig) -> float:
        """See `Runner.cost`. This is the cost of a second call, with warm caches."""
        return sum(counts.cycles(self.target) for counts in self.counts(shape, config))

    def counts(self, shape: Shape, config: ScheduleConfig) -> list[Counts]:
        """Return the counts of each kernel of the workload."""
        kernels = kernels_of("candidate", shape, config, self.target.vector)
        with tempfile.TemporaryDirectory(prefix="edge-tune-") as folder:
            work = Path(folder)
            write_object(kernels, self.llvm, work / "kernels.o")
            (work / "main.c").write_text(_harness(kernels), encoding="utf-8")
            compiler = c_compiler(self.target.triple, static=True)
            run([*compiler, "-O1", "main.c", "kernels.o", "-o", "main"], work)
            return count_program(work / "main", self.target)


def _harness(kernels: list[Kernel]) -> str:
    """Return a C program that calls each kernel twice and marks the second call."""
    parts = ["#include <stdint.h>", "#include <sys/prctl.h>"]
    calls = []
    for number, kernel in enumerate(kernels):
        buffers = buffer_sizes(kernel)
        size = {"float32": 4, "float16": 2, "uint8": 1, "int8": 1, "int16": 2, "int32": 4}
        names = []
        for index, (count, dtype) in enumerate(buffers):
            name = f"buffer{number}_{index}"
            names.append(name)
            parts.append(f"static _Alignas(64) uint8_t {name}[{count * size[dtype]}];")
        pointers = ", ".join("void *" for _ in names)
        parts.append(f"extern void {kernel.name}({pointers}, int32_t, int32_t);")
        call = f"{kernel.name}({', '.join(names)}, 0, {kernel.tasks});"
        calls += [call, "prctl(0x45444745, 1);", call, "prctl(0x45444745, 2);"]
    return "\n".join([*parts, "int main(void) {", *calls, "return 0; }"]) + "\n"
