"""The peers on an emulated ARM CPU: their own wheels, and one call of each, counted.

The files that they read are written here, by the packages of the same version for this machine.
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

SAME = 3 / 4
"""Of the bits in fp16 and int8, at least: by nature another network, but not any."""
PINS: Path = ROOT / "requirements" / "bench.txt"
Count = Callable[..., tuple[list[Counts], str]]
"""`compile.emulation.qemu.count_marks`, on the target: what Python does between its marks; its stdout."""

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
into, out = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
shape, kind, order = (1, *tensor.shape), MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
def fill():  # before each call: it takes the input's memory for later layers
    into.copyFrom(MNN.Tensor(shape, kind, tensor, order))
found = np.zeros(out.getShape(), np.float32)
host = MNN.Tensor(found.shape, kind, found, order)
def run():
    interpreter.runSession(session)
    out.copyToHostTensor(host)  # which makes float32 of fp16
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
    """One of them in one precision."""

    name: str
    package: str
    precision: str
    write: Callable[[Path, str, Path], list[Path]]
    """The files it reads: of an ONNX file, in a precision, in a folder."""
    script: str
    """Defines fill() and run(), which gives the activations."""


PEERS = [
    Peer("ncnn fp32", "ncnn", "fp32", _for_ncnn, NCNN),
    Peer("ncnn fp16", "ncnn", "fp16", _for_ncnn, NCNN),
    Peer("ncnn int8", "ncnn", "int8", _for_ncnn, NCNN),
    Peer("MNN fp32", "mnn", "fp32", _for_mnn, MNN),
    Peer("MNN fp16", "mnn", "fp16", _for_mnn, MNN),
    Peer("LiteRT fp32", "ai-edge-litert", "fp32", _for_litert, LITERT),
]


class Case(NamedTuple):
    """What all of them are given, and what should come out."""

    model: Path
    tensor: NDArray[np.float32]
    """[3, size, size], normalised."""
    expected: NDArray[np.float32]
    """Activations, [K]."""
    close: float
    """Their largest difference in float32."""


def outcome(
    peer: Peer, case: Case, target: Target, userland: Userland, count: Count, work: Path
) -> Counts | str:
    """What one warm call costs, its input ready, one thread; or in one line why it is left out."""
    if peer.precision == "fp16" and "asimdhp" not in target.features:
        return f"a {target.cpu} has no fp16 arithmetic"
    try:
        install(userland, peer.package)
        files = peer.write(case.model, peer.precision, work)
        np.save(work / "tensor.npy", case.tensor)
        script, given = BEGIN + peer.script + END, [work / "tensor.npy", peer.precision, *files]
        regions, said = count("-c", script, *map(str, given))
        answer = np.array(json.loads((said.strip().splitlines() or [""])[-1]))
    except ImportError as error:
        return f"{peer.package} is not installed here: {error}"
    except (EdgeRuntimeError, ValueError, subprocess.SubprocessError) as error:
        return " ".join(str(error).split())
    far = float(np.abs(answer - case.expected).max())
    if peer.precision == "fp32" and not far <= case.close:
        return f"its activations are wrong by up to {far:.3f}"
    same = float(((answer > 0.5) == (case.expected > 0.5)).mean())
    if not same >= SAME:
        return f"only {same:.0%} of its bits are right"
    return regions[-1]


def pinned(package: str) -> str:
    """The version that requirements/bench.txt asks for."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def install(userland: Userland, package: str) -> None:
    """A peer's own wheel for the emulated CPU, once; raises `ToolchainError` if there is none."""
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
