"""Write a network for native/main.c, build the program, and run it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from edge_runtime.errors import ToolchainError
from training.files import write_bytes
from training.papers.compressed.qcnn.codebooks import Codebooks
from training.papers.compressed.qcnn.layers import (
    DENSE,
    DEPTHWISE,
    FLATTEN,
    MAX_POOL,
    MEAN_POOL,
    Floats,
    Layer,
    Network,
)

NATIVE = Path(__file__).resolve().parent / "native"
SOURCES = ("main.c", "network.c", "kernels.c")
FLAGS = ("-std=gnu11", "-O3", "-Wall", "-Wextra")
MAGIC, VERSION = 0x4E4E4351, 1
CODED = 2
_KINDS = {DENSE: 0, DEPTHWISE: 1, MAX_POOL: 3, MEAN_POOL: 4, FLATTEN: 5}
_ACTIVATIONS = {"": 0, "relu": 1, "relu6": 2, "sigmoid": 3}


def to_program(network: Network, books: Mapping[int, Codebooks]) -> bytes:
    """Return the file that native/network.c reads."""
    head = [MAGIC, VERSION, len(network.layers), network.channels, network.size, 0, 0, 0]
    heads = [head, *(_head(each, books.get(i)) for i, each in enumerate(network.layers))]
    arrays = []
    for number, layer in enumerate(network.layers):
        if not layer.weight.size:
            continue
        arrays.append(np.ascontiguousarray(layer.bias, np.float32).tobytes())
        if number not in books:
            arrays.append(np.ascontiguousarray(layer.weight, np.float32).tobytes())
            continue
        own = books[number]
        arrays.append(np.ascontiguousarray(own.words, np.float32).tobytes())
        arrays.append(pack_indices(own))
    return b"".join([*(np.array(each, "<i4").tobytes() for each in heads), *arrays])


def _head(layer: Layer, books: Codebooks | None) -> list[int]:
    kind = CODED if books else _KINDS[layer.kind]
    groups = 1 if layer.kind == DEPTHWISE else layer.groups
    shape = (books.sub, books.words.shape[2]) if books else (0, 0)
    return [
        kind, layer.inputs, layer.outputs, layer.window, layer.stride, layer.pad,
        layer.in_size, layer.out_size, groups, _ACTIVATIONS[layer.activation], *shape, 0, 0, 0, 0,
    ]  # fmt: skip


def pack_indices(books: Codebooks) -> bytes:
    """Return the indices with `index_bits` bits each, from the lowest bit on."""
    bits = np.unpackbits(books.indices.reshape(-1, 1), axis=1, bitorder="little")
    packed = np.packbits(bits[:, : books.index_bits], bitorder="little").tobytes()
    return packed + bytes(-len(packed) % 4)


def build(folder: Path, compiler: str = "gcc", *flags: str) -> Path:
    """Build the program in `folder`; raises ToolchainError with the compiler's message."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"qcnn-{Path(compiler).name}"
    sources = [str(NATIVE / name) for name in SOURCES]
    command = [compiler, *FLAGS, *flags, *sources, "-lm", "-o", str(program)]
    _run(command, "apt install gcc")
    return program


@dataclass(frozen=True)
class Measured:
    """What the program reports."""

    answers: Floats
    """[pictures, outputs]"""
    cpu_ms: list[float]
    peak_bytes: int

    @property
    def cpu_p50_ms(self) -> float:
        """Return the median CPU time of a picture."""
        return median(self.cpu_ms)


def measure(
    command: list[str], network: Path, pictures: Floats, folder: Path, runs: int = 0
) -> Measured:
    """Run the program (`command`, with an emulator before it if needed) on pictures."""
    into, out = folder / "pictures.f32", folder / "answers.f32"
    write_bytes(into, np.ascontiguousarray(pictures, np.float32).tobytes())
    text = _run([*command, str(network), str(into), str(out), str(runs)], "build it again")
    *times, last = text.split("\n")[:-1]
    answers = np.fromfile(out, np.float32).reshape(len(pictures), -1)
    return Measured(answers, [int(each) / 1e6 for each in times], int(last.split()[1]) * 1024)


def _run(command: list[str], remedy: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolchainError(str(error.strerror), where=command[0], remedy=remedy) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        wrong = next((line for line in lines if "error" in line), lines[-1])
        raise ToolchainError(wrong, where=command[0], remedy=remedy)
    return done.stdout
