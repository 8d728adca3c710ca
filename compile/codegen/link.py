"""From a plan to libedge.so: TVM compiles the kernels, a C compiler the plan and its runtime."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tvm

from compile.codegen.emit_c import emit_c
from compile.codegen.lower import write_object
from compile.codegen.plan import Plan
from compile.frontend.ir import Network
from compile.target.description import Target
from compile.target.toolchain import FFI, TVM, c_compiler, run, version_of
from edge_runtime.bundle import LIBRARY, write_manifest
from edge_runtime.errors import storage_error

NATIVE = Path(__file__).resolve().parent.parent / "native"
LOOKUP = NATIVE.parents[1] / "edge_runtime" / "native"
"""The runtime's lookup, from the same source as in the wheel."""
LOOKUP_PARTS = ("search", "scan_scalar", "scan_neon", "scan_avx2", "scan_avx512")
SMALL = "scan_scalar"
"""Compiled for size: every CPU that a bundle is for scans with vectors instead."""
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
"""Align segments to pages of 16 KiB, the largest on Raspberry Pi OS and Android, instead of 64 KiB.
The gaps between segments are part of the file."""
TOGETHER = "-Wl,-z,noseparate-code"
"""Let code share a page with constants. The linker of ziglang does not know this option."""
SPARE_BYTES = 2 << 20
"""Disk space for a build, beside its constants, which exist in four files until it is done."""
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

    The same plan, CPU and tools give the same bytes, so boards whose CPUs run the same code share
    one library.
    """
    work.mkdir(parents=True, exist_ok=True)
    compiler = c_compiler(target.triple)
    text, constants = emit_c(plan, target.code_for)
    _check_space(4 * len(constants) + SPARE_BYTES, work)
    (work / "plan.c").write_text(text, encoding="utf-8")
    (work / "constants.bin").write_bytes(constants)
    (work / "constants.s").write_text(CONSTANTS, encoding="utf-8")
    lookup = [LOOKUP / f"{part}.c" for part in LOOKUP_PARTS]
    sources = [*sorted(NATIVE.glob("*.c")), *lookup, Path("plan.c")]  # plan.c is in `work`
    library = work / LIBRARY
    with ThreadPoolExecutor(len(sources)) as pool:  # while TVM compiles the kernels

        def compiled(source: Path) -> str:
            target_file = source.with_suffix(".o").name
            flags = [
                *FLAGS,
                *(["-Os"] if source.stem == SMALL else []),
                f"-I{NATIVE}",
                f"-I{LOOKUP}",
            ]
            run([*compiler, *flags, "-c", str(source), "-o", target_file], work)
            return target_file

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


def _check_space(size: int, folder: Path) -> None:
    """Raise `StorageError` unless `folder` has `size` bytes free.

    LLVM ends the process when it cannot write.
    """
    if shutil.disk_usage(folder).free < size:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise storage_error(full, folder) or full


def describe(
    folder: Path, network: Network, target: Target, precision: str, *, verified: bool = True
) -> None:
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
        verified=verified,
        tools={
            "apache-tvm": TVM,
            "apache-tvm-ffi": FFI,
            "compiler": version_of(c_compiler(target.triple)),
        },
    )
