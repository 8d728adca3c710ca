"""The runner for a real board, `rpc:HOST:PORT`, on which TVM's RPC server runs.

    board$ python -m tvm.exec.rpc_server --host 0.0.0.0 --port 9090

A candidate is one shared library: its kernels, and a function with TVM's calling convention that
times them on the board. Only the result, one number, is sent back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

import numpy as np
from tvm import rpc

from compile.codegen.lower import write_object
from compile.codegen.workloads import ScheduleConfig, Shape, kernels_of
from compile.kernels.base import Kernel
from compile.target.description import Target
from compile.target.toolchain import c_compiler, run
from compile.tuning.runner import EVICTION_BYTES, Runner, buffer_sizes
from edge_runtime.errors import CompileError

SESSION_S = 4 * 3600
"""Time after which the server ends a session. It serves one at a time. Longer than any search."""
ANSWER_S = 60.0
"""Time limit for one answer. A board measures one library in a second or two."""
HARNESS = Path(__file__).resolve().parent.parent / "emulation" / "timed.c"

T = TypeVar("T")


class RpcRunner(Runner):
    """Measures CPU time on a board, on one thread."""

    unit = "us"
    noisy = True

    def __init__(self, target: Target, address: str, repeats: int = 9) -> None:
        """Connect to `address`, HOST:PORT; raises `CompileError` if no server answers."""
        super().__init__(target)
        self.name, self.repeats, self._count = f"rpc:{address}", repeats, 0
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise CompileError(
                "not an address HOST:PORT", where=self.name, remedy="set RUNNER=rpc:HOST:PORT"
            )
        try:
            self._board: Any = _answer(
                lambda: rpc.connect(host, int(port), session_timeout=SESSION_S)
            )
        except Exception as error:  # the errors of TVM share no base
            raise CompileError(
                f"no RPC server answers: {_first_line(error)}",
                where=self.name,
                remedy="run on the board: "
                f"python -m tvm.exec.rpc_server --host 0.0.0.0 --port {port}",
            ) from error

    def cost(self, shape: Shape, config: ScheduleConfig) -> float:
        """See `Runner.cost`. This is the sum of the kernels' medians."""
        kernels = kernels_of("candidate", shape, config, self.target.vector)
        with tempfile.TemporaryDirectory(prefix="edge-tune-") as folder:
            work = Path(folder)
            write_object(kernels, self.llvm, work / "kernels.o")
            (work / "calls.h").write_text(calls(kernels), encoding="utf-8")
            flags = ["-O2", "-fPIC", "-shared", "-I.", f"-DREPEATS={self.repeats}"]
            flags += [f"-DEVICTION_BYTES={EVICTION_BYTES}u", str(HARNESS), "kernels.o"]
            self._count += 1  # a new name: the server keeps libraries loaded
            library = work / f"candidate{self._count}.so"
            run([*c_compiler(self.target.triple), *flags, "-o", library.name], work)
            return self._timed(library)

    def _timed(self, library: Path) -> float:
        def measure() -> float:
            self._board.upload(bytearray(library.read_bytes()), library.name)
            nanoseconds = float(self._board.load_module(library.name)["measure"]())
            self._board.remove(library.name)
            return nanoseconds

        try:
            return _answer(measure) / 1e3
        except Exception as error:
            raise CompileError(
                f"the connection to the board was lost: {_first_line(error)}",
                where=self.name,
                remedy="restart its RPC server and compile again; the results so far are saved",
            ) from error


def calls(kernels: list[Kernel]) -> str:
    """Return the C code that timed.c includes: the kernels' buffers and calls."""
    parts, table = [], []
    for number, kernel in enumerate(kernels):
        names = []
        for index, (count, dtype) in enumerate(buffer_sizes(kernel)):
            names.append(f"buffer{number}_{index}")
            size = count * np.dtype(dtype).itemsize
            parts.append(f"static _Alignas(64) uint8_t {names[-1]}[{size}];")
            weights = int(kernel.function.params[index].name == "W")
            parts.append(f"#define ABOUT_{names[-1]} {{{names[-1]}, {size}, {weights}}}")
        pointers = ", ".join("void *" for _ in names)
        parts.append(f"extern void {kernel.name}({pointers}, int32_t, int32_t);")
        body = f"{kernel.name}({', '.join(names)}, 0, {kernel.tasks});"
        parts.append(f"static void call{number}(void) {{ {body} }}")
        abouts = ", ".join(f"ABOUT_{name}" for name in names)
        parts.append(f"static const struct buffer buffers{number}[] = {{{abouts}}};")
        table.append(f"{{call{number}, buffers{number}, {len(names)}}}")
    parts.append(f"static const struct candidate candidates[] = {{{', '.join(table)}}};")
    return "\n".join(parts) + "\n"


def _answer(request: Callable[[], T]) -> T:
    """Return the result of `request`; raises TimeoutError, and the errors of TVM.

    TVM waits forever for a board that hangs or serves another client. The waiting thread is
    abandoned.
    """
    answers: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            answers.put((request(), None))
        except Exception as error:  # the errors of TVM share no base
            answers.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        answer, error = answers.get(timeout=ANSWER_S)
    except Empty:
        raise TimeoutError(f"no answer within {ANSWER_S:g} s") from None
    if error is not None:
        raise error
    return cast("T", answer)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
