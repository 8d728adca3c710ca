"""Write the network in the formats of its peers and open every engine that is installed."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from compile.frontend.ir import Layer, Network
from compile.frontend.onnx_importer import read_network
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.image import Image
from edge_runtime.image.preprocess import normalize
from profiles.bench.support.interleaved_timing import Answer, Contender


def contenders(
    model: Path,
    quantized: Path | None,
    bundle: Path | None,
    picture: Image,
    threads: int,
    work: Path,
) -> Iterator[tuple[str, Contender]]:
    """Yield every installed engine by name, ready to run on `picture` with `threads` threads.

    The peers get normalized input in their own layout. edge-runtime starts from the picture.
    """
    network = read_network(model)
    size = network.model.input.size
    tensor = np.empty((1, 3, size, size), np.float32)
    normalize(picture, network.model.input, tensor[0])
    if bundle is not None:
        for path, kind in ((bundle, ""), (bundle.with_name(bundle.name + "-int8"), " int8")):
            if path.exists():
                yield _edge_runtime(f"edge-runtime{kind}", path, picture, threads)
    yield _onnxruntime("ONNX Runtime", model, tensor, threads)
    if quantized is not None:
        yield _onnxruntime("ONNX Runtime int8", quantized, tensor, threads)
    yield from _ncnn(network, tensor, threads, work)
    yield from _mnn(model, tensor, threads, work)
    yield from _litert(network, tensor, threads, work)


def _edge_runtime(name: str, bundle: Path, picture: Image, threads: int) -> tuple[str, Contender]:
    engine = CompiledEngine(bundle, threads=threads)
    return name, Contender(lambda: _sigmoid(engine.logits(picture)))


def _sigmoid(logits: Answer) -> Answer:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)


def _onnxruntime(name: str, model: Path, tensor: Answer, threads: int) -> tuple[str, Contender]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")  # the fastest setting
    session = ort.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: tensor}

    def run() -> Answer:
        (output,) = session.run(["hash"], feed)
        return np.asarray(output[0], np.float32)

    return f"{name} {ort.__version__}", Contender(run)


def _ncnn(
    network: Network, tensor: Answer, threads: int, work: Path
) -> Iterator[tuple[str, Contender]]:
    try:
        import ncnn
    except ImportError:
        return
    write_ncnn(network, work / "net.param", work / "net.bin")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for half in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{half}", False)
    net.load_param(str(work / "net.param"))
    net.load_model(str(work / "net.bin"))
    mat = ncnn.Mat(np.ascontiguousarray(tensor[0]))

    def run() -> Answer:
        extractor = net.create_extractor()
        extractor.input("image", mat)
        _, out = extractor.extract("hash")
        return np.array(out, np.float32).reshape(-1)

    yield f"ncnn {ncnn.__version__}", Contender(run)


def _mnn(model: Path, tensor: Answer, threads: int, work: Path) -> Iterator[tuple[str, Contender]]:
    try:
        import MNN
    except ImportError:
        return
    write_mnn(model, work / "net.mnn")
    interpreter = MNN.Interpreter(str(work / "net.mnn"))
    session = interpreter.createSession({"numThread": threads, "precision": "high"})
    into = interpreter.getSessionInput(session)
    host = MNN.Tensor(tensor.shape, MNN.Halide_Type_Float, tensor, MNN.Tensor_DimensionType_Caffe)
    out = interpreter.getSessionOutput(session, "hash")

    def run() -> Answer:
        interpreter.runSession(session)
        return np.array(out.getData(), np.float32).reshape(-1)

    yield f"MNN {MNN.version()}", Contender(run, lambda: into.copyFrom(host))


def _litert(
    network: Network, tensor: Answer, threads: int, work: Path
) -> Iterator[tuple[str, Contender]]:
    try:
        from profiles.bench.peers.litert import litert
    except ImportError:
        return
    fill, run = litert(network, tensor, threads, work)
    yield f"LiteRT {version('ai-edge-litert')}", Contender(run, fill)


def write_mnn(model: Path, path: Path) -> None:
    """Convert the network with MNN's converter; raises ImportError if MNN is not installed."""
    if find_spec("MNN") is None:
        raise ImportError("no module named MNN")
    command = [sys.executable, "-m", "MNN.tools.mnnconvert", "-f", "ONNX", "--bizCode", "edge"]
    command += ["--modelFile", str(model), "--MNNModel", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def write_ncnn(network: Network, param: Path, binary: Path, *, in_bytes: bool = False) -> None:
    """Write the network in ncnn's format: one line per layer, and the float32 weights in order.

    `in_bytes`: add scales with which ncnn computes in int8. They map the largest weight of a
    channel, and the largest activation, to 127.
    """
    lines, weights = ["Input image 0 1 image"], bytearray()
    for index, layer in enumerate(network.layers):
        source = "image" if layer.source < 0 else f"x{layer.source}"
        if layer.residual is not None:
            raise ValueError("residual sums are not supported")
        weights += struct.pack("<I", 0) + layer.weight.astype("<f4").tobytes()
        weights += layer.bias.astype("<f4").tobytes()
        activation = "" if layer.limit is None else f" 9=3 -23310=2,0.0,{layer.limit:.1f}"
        if in_bytes:
            last = index == network.hash_source  # its output stays in float32
            weights += _ncnn_scales(layer.weight, _largest_output(network, layer.source))
            weights += b"" if last else struct.pack("<f", 127 / _largest_output(network, index))
            # int8 saturates at the limit of the activation, so a plain ReLU suffices and is faster
            activation = activation if last else " 9=1"
            activation += f" 8={(1 if layer.kind == 'depthwise' else 2) + (0 if last else 100)}"
        lines.append(_ncnn_convolution(layer, source, f"x{index}") + activation)
    bits = len(network.hash_bias)
    term = 2 if in_bytes else 0
    lines.append(f"Pooling pool 1 1 x{network.hash_source} pooled 0=1 4=1")
    lines.append(
        f"InnerProduct dense 1 1 pooled logits 0={bits} 1=1 2={network.hash_weight.size} 8={term}"
    )
    weights += struct.pack("<I", 0) + network.hash_weight.astype("<f4").tobytes()
    weights += network.hash_bias.astype("<f4").tobytes()
    if in_bytes:
        weights += _ncnn_scales(network.hash_weight, _largest_output(network, network.hash_source))
    lines.append("Sigmoid sigmoid 1 1 logits hash")
    param.write_text("\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines]) + "\n")
    binary.write_bytes(weights)


def _ncnn_scales(weight: Answer, largest_input: float) -> bytes:
    """Return the scales of the weights of each output channel, then the scale of the input."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    return np.append(127 / largest, 127 / largest_input).astype("<f4").tobytes()


def _largest_output(network: Network, index: int) -> float:
    """Return the largest output of layer `index`, or for -1 of the normalized picture."""
    if index < 0:
        spec = network.model.input
        return float(max(abs(spec.offset), abs(255 * spec.scale + spec.offset)))
    layer = network.layers[index]
    if layer.limit is None or not np.isfinite(layer.limit):
        raise ValueError(f"{layer.name}: its activation is unbounded, so it needs calibration")
    return float(layer.limit)


def _ncnn_convolution(layer: Layer, source: str, name: str) -> str:
    kind = "ConvolutionDepthWise" if layer.kind == "depthwise" else "Convolution"
    groups = f" 7={layer.outputs}" if layer.kind == "depthwise" else ""
    top, left, bottom, right = layer.pads
    return (
        f"{kind} {name} 1 1 {source} {name} 0={layer.outputs} 1={layer.window} 3={layer.stride} "
        f"4={left} 15={right} 14={top} 16={bottom} 5=1 6={layer.weight.size}{groups}"
    )
