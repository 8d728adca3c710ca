"""Count one call of each peer on an emulated ARM CPU, using the peer's own wheel.

The model files are written on this machine by the same versions of the packages.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compile.emulation.counters import Counts
from compile.emulation.userland import PLATFORMS, PYTHON, ROOT, Userland
from compile.target.description import Target
from edge_runtime.errors import EdgeRuntimeError, ToolchainError

REQUIRED_AGREEMENT = 3 / 4
"""Smallest share of equal bits in fp16 and int8, whose networks differ from the float32 one."""
PINS: Path = ROOT / "requirements" / "bench.txt"
Count = Callable[..., tuple[list[Counts], str]]
"""`compile.emulation.qemu.count_marks` bound to a target: the counts between marks, and stdout."""

BEGIN = """
import ctypes, json, sys
import numpy as np
tensor, precision, files = np.load(sys.argv[1]), sys.argv[2], sys.argv[3:]
"""
NCNN = """
import ncnn
net = ncnn.Net()
net.opt.num_threads = 1
for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
    setattr(net.opt, "use_" + name, precision != "fp32" and name.startswith("fp16"))
net.load_param(files[0])
net.load_model(files[1])
mat = ncnn.Mat(tensor)
def fill():
    pass
def run():
    extractor = net.create_extractor()
    extractor.input("image", mat)
    return np.array(extractor.extract("hash")[1])
"""
MNN = """
import MNN
interpreter = MNN.Interpreter(files[0])
accuracy = "high" if precision == "fp32" else "low"
session = interpreter.createSession({"numThread": 1, "precision": accuracy})
into, out = interpreter.getSessionInput(session), interpreter.getSessionOutput(session, "hash")
shape, kind, order = (1, *tensor.shape), MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
def fill():  # before each call, because later layers overwrite the input
    into.copyFrom(MNN.Tensor(shape, kind, tensor, order))
result = np.zeros(out.getShape(), np.float32)
host = MNN.Tensor(result.shape, kind, result, order)
def run():
    interpreter.runSession(session)
    out.copyToHostTensor(host)  # converts fp16 to float32
    return host.getData()
"""
LITERT = """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(files[0], num_threads=1)
interpreter.allocate_tensors()
(into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
def fill():
    interpreter.set_tensor(into["index"], np.ascontiguousarray(tensor.transpose(1, 2, 0))[None])
def run():
    interpreter.invoke()
    return interpreter.get_tensor(out["index"])[0]
"""
END = """
mark = ctypes.CDLL(None).prctl
for _ in range(2):
    fill()
    mark(0x45444745, 1)
    answer = run()
    mark(0x45444745, 2)
print(json.dumps([float(value) for value in answer]))
"""


def _for_ncnn(model: Path, precision: str, work: Path) -> list[Path]:
    from compile.frontend.onnx_importer import read_network
    from profiles.bench.peers.native import write_ncnn

    files = [work / f"{precision}.param", work / f"{precision}.bin"]
    write_ncnn(read_network(model), *files, in_bytes=precision == "int8")
    return files


def _for_mnn(model: Path, _precision: str, work: Path) -> list[Path]:
    from profiles.bench.peers.native import write_mnn

    write_mnn(model, work / "net.mnn")
    return [work / "net.mnn"]


def _for_litert(model: Path, _precision: str, work: Path) -> list[Path]:
    from compile.frontend.onnx_importer import read_network
    from profiles.bench.peers.litert import write_litert

    write_litert(read_network(model), work / "net.tflite")
    return [work / "net.tflite"]


class Peer(NamedTuple):
    """A peer in one precision."""

    name: str
    package: str
    precision: str
    write: Callable[[Path, str, Path], list[Path]]
    """Writes the files that the peer reads: write(ONNX file, precision, folder)."""
    script: str
    """Defines fill() and run(). run() returns the activations."""


PEERS = [
    Peer("ncnn fp32", "ncnn", "fp32", _for_ncnn, NCNN),
    Peer("ncnn fp16", "ncnn", "fp16", _for_ncnn, NCNN),
    Peer("ncnn int8", "ncnn", "int8", _for_ncnn, NCNN),
    Peer("MNN fp32", "mnn", "fp32", _for_mnn, MNN),
    Peer("MNN fp16", "mnn", "fp16", _for_mnn, MNN),
    Peer("LiteRT fp32", "ai-edge-litert", "fp32", _for_litert, LITERT),
]


class Case(NamedTuple):
    """The input of all peers and the expected output."""

    model: Path
    tensor: NDArray[np.float32]
    """[3, size, size], normalized."""
    expected: NDArray[np.float32]
    """Activations, [K]."""
    tolerance: float
    """Largest allowed difference of an activation in float32."""


def outcome(
    peer: Peer, case: Case, target: Target, userland: Userland, count: Count, work: Path
) -> Counts | str:
    """Return the counts of one warm call on one thread, or one line that says why it failed."""
    if peer.precision == "fp16" and "asimdhp" not in target.features:
        return f"a {target.cpu} has no fp16 arithmetic"
    try:
        install(userland, peer.package)
        files = peer.write(case.model, peer.precision, work)
        np.save(work / "tensor.npy", case.tensor)
        script, arguments = BEGIN + peer.script + END, [work / "tensor.npy", peer.precision, *files]
        regions, stdout = count("-c", script, *map(str, arguments))
        answer = np.array(json.loads((stdout.strip().splitlines() or [""])[-1]))
    except ImportError as error:
        return f"{peer.package} is not installed: {error}"
    except (EdgeRuntimeError, ValueError, subprocess.SubprocessError) as error:
        return " ".join(str(error).split())
    difference = float(np.abs(answer - case.expected).max())
    if peer.precision == "fp32" and not difference <= case.tolerance:
        return f"its activations differ by up to {difference:.3f}"
    agreement = float(((answer > 0.5) == (case.expected > 0.5)).mean())
    if not agreement >= REQUIRED_AGREEMENT:
        return f"only {agreement:.0%} of its bits are correct"
    return regions[-1]


def pinned(package: str) -> str:
    """Return the version that requirements/bench.txt pins."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def install(userland: Userland, package: str) -> None:
    """Install a peer's wheel for the emulated CPU, once; raises `ToolchainError` on failure."""
    version = pinned(package)
    if (userland.site / f"{package.replace('-', '_')}-{version}.dist-info").exists():
        return
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--upgrade", "--target", str(userland.site), *platforms,
        "--python-version", PYTHON, "--implementation", "cp", "--only-binary=:all:",
        f"{package}=={version}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise ToolchainError(f"no wheel for aarch64 and Python {PYTHON}: {last}", where=package)
