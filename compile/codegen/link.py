"""From a plan to libedge.so: kernels by TVM, the plan and its small run time by a C compiler."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tvm

from compile.codegen.emit_c import emit
from compile.codegen.lower import write_object
from compile.codegen.plan import Plan
from compile.frontend.ir import Network
from compile.target.description import Target
from compile.target.toolchain import FFI, TVM, c_compiler, run, version_of
from edge_runtime.bundle import LIBRARY, write_manifest
from edge_runtime.errors import storage_error

NATIVE = Path(__file__).resolve().parent.parent / "native"
LOOKUP = NATIVE.parents[1] / "edge_runtime" / "native"
"""The runtime's lookup: the same source as in the wheel."""
LOOKUP_PARTS = ("search", "scan_scalar", "scan_neon", "scan_avx2", "scan_avx512")
RARE = "scan_scalar"
"""What a bundle is for has vectors to scan with: this one need not be fast, so it is made small."""
CONSTANTS = """
.section .rodata
.balign 64
.global edge_constants
.hidden edge_constants
edge_constants:
.incbin "constants.bin"
.section .note.GNU-stack,"",%progbits
"""
PAGES = "-Wl,-z,max-page-size=0x4000"
"""What lies between segments counts: these begin at pages of 16 KiB at most, which Raspberry Pi OS
and Android have, in place of 64."""
TOGETHER = "-Wl,-z,noseparate-code"
"""Nor does code begin a page of its own; ziglang's linker knows no such wish."""
SPARE = 2 << 20
"""Bytes that a build may take beside its constants, which stand in four files until it is done."""
FLAGS = (
    "-std=gnu11",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-asynchronous-unwind-tables",
    "-Wall",
    "-Wextra",
    "-ffile-prefix-map=" + str(NATIVE) + "=edge",
)


def build_library(plan: Plan, target: Target, work: Path) -> Path:
    """Write libedge.so into the folder `work`; raises `ToolchainError`.

    The same plan, CPU and tools give the same bytes: boards whose CPUs take the same code share
    one library.
    """
    work.mkdir(parents=True, exist_ok=True)
    compiler = c_compiler(target.triple)
    text, constants = emit(plan, target.code_for)
    _need(4 * len(constants) + SPARE, work)
    (work / "plan.c").write_text(text, encoding="utf-8")
    (work / "constants.bin").write_bytes(constants)
    (work / "constants.s").write_text(CONSTANTS, encoding="utf-8")
    lookup = [LOOKUP / f"{part}.c" for part in LOOKUP_PARTS]
    sources = [*sorted(NATIVE.glob("*.c")), *lookup, Path("plan.c")]  # the last one in `work`
    library = work / LIBRARY
    with ThreadPoolExecutor(len(sources)) as pool:  # beside TVM, which takes as long

        def compiled(source: Path) -> str:
            made = source.with_suffix(".o").name
            flags = [
                *FLAGS,
                *(["-Os"] if source.stem == RARE else []),
                f"-I{NATIVE}",
                f"-I{LOOKUP}",
            ]
            run([*compiler, *flags, "-c", str(source), "-o", made], work)
            return made

        objects = pool.map(compiled, sources)
        write_object(plan.kernels, tvm.target.Target(target.llvm()), work / "kernels.o")
    run(
        [
            *compiler,
            *FLAGS,
            "-shared",
            *objects,
            "constants.s",
            "kernels.o",
            "-o",
            library.name,
            "-pthread",
            "-Wl,-z,noexecstack,--gc-sections,-s",
            PAGES,
            *([] if "ziglang" in compiler else [TOGETHER]),
            "-Wl,--build-id=none",
            f"-Wl,--version-script={NATIVE / 'edge.map'}",
            "-Wl,-z,defs",
        ],
        work,
    )
    return library


def _need(size: int, folder: Path) -> None:
    """Raise `StorageError` unless `folder` has room for `size` bytes: where LLVM cannot write, it
    ends the process."""
    if shutil.disk_usage(folder).free < size:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise storage_error(full, folder) or full


def describe(folder: Path, network: Network, target: Target, precision: str) -> None:
    """Write the manifest of the bundle in `folder`."""
    write_manifest(
        folder,
        network.model,
        target={
            "name": target.name,
            "board": target.board,
            "triple": target.triple,
            "cpu": target.cpu,
            "features": list(target.features),
        },
        precision=precision,
        budgets=target.budgets,
        tools={
            "apache-tvm": TVM,
            "apache-tvm-ffi": FFI,
            "compiler": version_of(c_compiler(target.triple)),
        },
    )
