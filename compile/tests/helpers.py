"""Small models, bundles and buffers that several test modules use."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import tvm

from compile.build import compile_bundle
from compile.codegen.link import build_library
from compile.codegen.lower import write_object
from compile.codegen.plan import make_plan
from compile.codegen.workloads import workloads
from compile.frontend.ir import Network
from compile.kernels.base import Kernel
from compile.target.description import Target
from compile.target.toolchain import c_compiler, run
from compile.tests.sample import Sample
from compile.tuning.search_space import space
from compile.verify.request import Request, Result
from edge_runtime.code import hamming
from edge_runtime.engine.portable import PortableEngine

CHANCE = np.random.default_rng(7)


def save_sample(
    path: Path,
    kind: str = "v1",
    *,
    size: int = 96,
    width: float = 0.25,
    bits: int = 64,
    classes: int = 0,
    batch_norm: bool = False,
    features: bool = True,
) -> Path:
    sample = Sample(size, width, bits, batch_norm=batch_norm)
    getattr(sample, kind)()
    sample.finish(path, classes=classes, features=features)
    return path


def build(model: Path, target: Target, out: Path, *, pictures: int = 40) -> Result:
    """Compile `model` with one trial per workload: the first choice of the rule of thumb."""
    records = out.parent / "records"
    request = Request(model, target, out, trials=1, records=records, pictures=pictures)
    return compile_bundle(request)


def random_pictures(size: int, count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def call(
    kernels: list[Kernel], target: Target, folder: Path, buffers: list[list[np.ndarray]]
) -> None:
    """Run each kernel on its buffers, task by task from the last to the first."""
    write_object(kernels, tvm.target.Target(target.llvm()), folder / "k.o")
    run([*c_compiler(target.triple), "-shared", "k.o", "-o", "k.so"], folder)
    library = ctypes.CDLL(str(folder / "k.so"))
    for kernel, arguments in zip(kernels, buffers, strict=True):
        pointers = [ctypes.c_void_p(buffer.ctypes.data) for buffer in arguments]
        for task in reversed(range(kernel.tasks)):
            library[kernel.name](*pointers, ctypes.c_int32(task), ctypes.c_int32(task + 1))


def aligned(array: np.ndarray) -> np.ndarray:
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def numbers(*shape: int) -> np.ndarray:
    return aligned(CHANCE.normal(0, 1, shape).astype(np.float32))


def codes(network: Network, target: Target, folder: Path, pictures: np.ndarray) -> np.ndarray:
    """Return the packed codes of an int8 network that is compiled without a search."""
    choices = {w.key: space(w.shape, target.vector)[0] for w in workloads(network, "int8")}
    plan = make_plan(network, choices, target.vector, "int8")
    library = ctypes.CDLL(str(build_library(plan, target, folder)))
    library.edge_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(library.edge_open(2))
    found = np.zeros((len(pictures), 1), np.uint64)
    for picture, code in zip(pictures, found, strict=True):
        library.edge_hash(opened, *(ctypes.c_void_p(a.ctypes.data) for a in (picture, code)))
    library.edge_close(opened)
    return found


def difference(model: Path, found: np.ndarray, pictures: np.ndarray) -> float:
    reference = PortableEngine(model)
    bits = reference.model.bits
    wrong = [
        hamming(c, reference.hash(p)[np.newaxis])[0] for c, p in zip(found, pictures, strict=True)
    ]
    return sum(map(int, wrong)) / (bits * len(pictures))
