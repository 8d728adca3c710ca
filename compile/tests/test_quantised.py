"""int8: every kernel against its definition in numpy, to the bit, and networks as a whole."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compile.build import Request, compile_bundle
from compile.codegen.link import build_library
from compile.codegen.pack_weights import depthwise_constants, pointwise_constants, stem_constants
from compile.codegen.plan import make_plan, vector_of, workloads
from compile.frontend.ir import Layer, Network, Quantised
from compile.frontend.onnx_importer import read_network
from compile.kernels import quantized, stem, words
from compile.kernels.separable import Block, ScheduleConfig
from compile.quantization.calibrate import quantise
from compile.quantization.gptq import in_bytes
from compile.quantization.reference import run_layer
from compile.target.description import Target
from compile.target.vector_unit import PLAIN, SMULL, Vector
from compile.tests.conftest import save_sample
from compile.tests.test_kernels import aligned, call, numbers
from compile.tuning.search_space import space
from compile.verify import criteria
from compile.verify.images import pictures
from edge_runtime.code import hamming
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import CompileError

CHANCE = np.random.default_rng(8)

BLOCKS = {
    "stride 1": Block(14, 14, 32, 64, 3, 1, (16, 16), 16 * 64, dtype="int8"),
    "stride 2": Block(7, 7, 64, 32, 3, 2, (15, 15), 9 * 32, dtype="int8"),
    "residual": Block(
        12, 12, 48, 16, 3, 1, (14, 14), 12 * 16, residual_stride=13 * 16, dtype="int8"
    ),
    "pointwise alone": Block(6, 6, 48, 80, 0, 1, (6, 8), 6 * 80, dtype="int8"),
    "from float32": Block(8, 8, 32, 32, 3, 1, (10, 10), 9 * 32, dtype="int8", source="float32"),
    "wide window": Block(5, 5, 16, 48, 5, 1, (9, 9), 5 * 48, dtype="int8"),
}


def ints(low: int, high: int, dtype: str, *shape: int) -> np.ndarray:
    return aligned(CHANCE.integers(low, high, shape, dtype=dtype))


def layers(block: Block) -> list[Layer]:
    """Of any integers that the kernels must bear."""
    k, n, window = block.channels, block.outputs, block.window
    made = []
    if window:
        few = 255 // -(-(window**2) // 2)
        integers = Quantised(
            np.ones(k, np.float32),
            0,
            weight=ints(-few, few + 1, "int8", k, window, window),
            factor=ints(0, 32767, "int16", k),
            offset=ints(-9000, 9000, "int16", k),
            shift=ints(0, 9, "int16", k),
        )
        if block.source:
            integers.weight = numbers(k, window, window)
            integers.bias = numbers(k)
        weight = np.zeros((k, 1, window, window), np.float32)
        made.append(
            Layer("d", "depthwise", weight, weight[:, 0, 0, 0], -1, block.stride,
                  out_size=block.height, quantised=integers)
        )  # fmt: skip
    integers = Quantised(
        np.ones(n, np.float32),
        0,
        weight=ints(-63, 64, "int8", n, k),
        bias=ints(-9000, 9000, "int32", n),
        factor=ints(1 << 23, 1 << 28, "int32", n),
        residual=ints(0, 500, "int32", n),
    )
    weight = np.zeros((n, k, 1, 1), np.float32)
    made.append(Layer("p", "pointwise", weight, weight[:, 0, 0, 0], 0, quantised=integers))
    return made


def ways(host: Target) -> list[Vector]:
    at = host.at("int8").vector
    return [at] if at.way in (PLAIN, SMULL) else [at, replace(at, way=PLAIN)]


@pytest.mark.parametrize("pick", range(4))
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_what_numpy_says(name: str, pick: int, host: Target, tmp_path: Path) -> None:
    block = BLOCKS[name]
    for number, at in enumerate(ways(host)):
        vector = vector_of(block, at)
        choices = space(block, at)
        knobs = choices[0] if pick == 0 else choices[int(CHANCE.integers(len(choices)))]
        (tmp_path / str(number)).mkdir()
        check(block, knobs, vector, host, tmp_path / str(number))


def check(block: Block, knobs: ScheduleConfig, vector: Vector, host: Target, folder: Path) -> None:
    *first, last = layers(block)
    kernels = quantized.kernels("k", block, knobs, vector)
    a = ints(-128, 128, "int8", *block.in_shape, block.channels)
    a = aligned(a / np.float32(7)) if block.source else a
    middle = a[: block.height, : block.width][np.newaxis]
    front = [a]
    if first:
        front += [aligned(np.ascontiguousarray(c)) for c in depthwise_constants(first[0])]
        middle = run_layer(first[0], a[np.newaxis])
    back = [aligned(c) for c in pointwise_constants(last, block, knobs, vector)]
    residual = None
    if block.residual_stride:
        wide = block.residual_stride // block.outputs
        rows = ints(-128, 128, "int8", block.height, wide, block.outputs)
        back += [rows, last.quantised.residual]
        residual = rows[np.newaxis, :, : block.width]
    expected = run_layer(last, middle, residual)[0]
    out = ints(-128, 128, "int8", block.height, block.out_stride)
    before = out.copy()
    if knobs.fused:
        call(kernels, host, folder, [[*front, *back, out]])
    else:
        d = ints(0, 9, "int32", *words.middle_shape(block, knobs, vector))
        call(kernels, host, folder, [[*front, d], [d, *back, out]])
    inside = block.width * block.outputs
    found = out[:, :inside].reshape(block.height, block.width, block.outputs)
    assert (found == expected).all(), (knobs, vector, (found != expected).mean())
    assert (out[:, inside:] == before[:, inside:]).all(), "it wrote into the border"


@pytest.mark.parametrize("edge", [0, 1])
def test_the_stem_is_what_numpy_says(edge: int, host: Target, tmp_path: Path) -> None:
    image = ints(0, 256, "uint8", 32, 32, 3)
    integers = Quantised(
        np.ones(48, np.float32),
        0,
        weight=ints(-127, 128, "int8", 48, 3, 3, 3),
        bias=ints(-9000, 9000, "int32", 48),
        factor=ints(1 << 23, 1 << 28, "int32", 48),
    )
    weight = np.zeros((48, 3, 3, 3), np.float32)
    layer = Layer(
        "s", "stem", weight, weight[:, 0, 0, 0], -1, 2, (edge, edge, 1, 1),
        out_size=16, quantised=integers,
    )  # fmt: skip
    shape = stem.Stem(
        16,
        16,
        48,
        32,
        3,
        2,
        edge,
        edge,
        (127.5,) * 3,
        17 * 48,
        dtype="float32",
        out="int8",
        whole=True,
    )
    network = read_network(save_sample(tmp_path / "m.onnx"))
    expected = run_layer(layer, (image ^ 128).view(np.int8)[np.newaxis, ..., ::-1])[0]
    for number, at in enumerate(ways(host)):
        if at.way == SMULL:
            pytest.skip("this CPU counts its first layer in float32")
        vector = vector_of(shape, at)
        knobs = space(shape, at)[0]
        constants = [aligned(c) for c in stem_constants(network, layer, shape, vector)]
        out = ints(-128, 128, "int8", 16, 17 * 48)
        folder = tmp_path / str(number)
        folder.mkdir()
        kernel = stem.kernel("k", shape, knobs, vector)
        call([kernel], host, folder, [[image, *constants, out]])
        assert (out[:, : 16 * 48].reshape(16, 16, 48) == expected).all(), (knobs, vector)


def codes(network: Network, target: Target, folder: Path, made: np.ndarray) -> np.ndarray:
    """Packed codes of a network of integers, compiled by rule of thumb."""
    choices = {w.key: space(w.shape, target.vector)[0] for w in workloads(network, "int8")}
    plan = make_plan(network, choices, target.vector, "int8")
    library = ctypes.CDLL(str(build_library(plan, target, folder)))
    library.edge_open.restype = ctypes.c_void_p
    opened = ctypes.c_void_p(library.edge_open(2))
    found = np.zeros((len(made), 1), np.uint64)
    for picture, code in zip(made, found, strict=True):
        library.edge_hash(opened, *(ctypes.c_void_p(a.ctypes.data) for a in (picture, code)))
    library.edge_close(opened)
    return found


def difference(model: Path, found: np.ndarray, made: np.ndarray) -> float:
    reference = PortableEngine(model)
    bits = reference.model.bits
    wrong = [hamming(c, reference.hash(p)[np.newaxis])[0] for c, p in zip(found, made, strict=True)]
    return sum(map(int, wrong)) / (bits * len(made))


@pytest.mark.parametrize(("kind", "width"), [("v1", 0.25), ("v2", 0.5)])
@pytest.mark.parametrize("way", ["the host's", SMULL])
def test_a_network_finds_what_fp32_finds(
    kind: str, width: float, way: str, host: Target, tmp_path: Path
) -> None:
    """Channels that are no multiple of 16, residuals, weights that must have room in 16 bits."""
    model = save_sample(tmp_path / "m.onnx", kind, width=width)
    target = host.at("int8")
    vector = replace(target.vector, way=way) if way == SMULL else target.vector
    network = quantise(read_network(model), pictures(None, 96, 12, seed=4), vector)
    assert all(tensor.outputs % 16 == 0 for tensor in network.layers)
    made = pictures(None, 96, 60)
    # Random weights have codes near their threshold: a trained network has far fewer such bits.
    assert difference(model, codes(network, target, tmp_path / "work", made), made) < 0.05


def test_rounding_changes_sums_least_where_inputs_go_together() -> None:
    inputs = CHANCE.normal(0, 1, (4000, 1)) + CHANCE.normal(0, 0.2, (4000, 40))
    weight = CHANCE.normal(0, 1, (8, 40))
    moments = inputs.T @ inputs / len(inputs)

    def lost(known: np.ndarray | None) -> float:
        made, step = in_bytes(weight, lambda w: w[:, :20].sum(axis=1), np.full(8, 1e-9), known)
        assert np.abs(made[:, :20].astype(int)).sum(axis=1).max() <= 255
        return float(np.square(inputs @ (weight - made * step[:, np.newaxis]).T).mean())

    assert lost(moments) < 0.3 * lost(None)


def test_a_file_of_int8_is_read_with_its_ranges(small_model: Path, tmp_path: Path) -> None:
    path = in_qdq(small_model, tmp_path / "qdq.onnx")
    network, plain = read_network(path), read_network(small_model)
    assert network.in_bytes and not plain.in_bytes
    for layer, other in zip(network.layers, plain.layers, strict=True):
        assert layer.span == (0, pytest.approx(6))
        assert np.abs(layer.weight - other.weight).max() <= np.abs(other.weight).max() / 254 + 1e-6


def test_a_file_of_int8_becomes_a_bundle(small_model: Path, host: Target, tmp_path: Path) -> None:
    path = in_qdq(small_model, tmp_path / "qdq.onnx")
    request = Request(path, host, tmp_path / "out", "int8", trials=1, records=tmp_path, pictures=20)
    evidence = compile_bundle(request).evidence
    assert evidence["parity"]["share_equal"] > 0.9  # of random weights; see above
    assert evidence["accuracy"]["views"] == criteria.VIEWS
    request.precision = "fp32"
    with pytest.raises(CompileError, match="PRECISION=int8"):
        compile_bundle(request)


def in_qdq(model: Path, path: Path) -> Path:
    """`model` as quantisers write it: bytes of weights, and of what the convolutions give."""
    graph = onnx.load(model)
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    nodes, added = [], []

    def constant(name: str, array: np.ndarray) -> str:
        added.append(numpy_helper.from_array(array, name))
        return name

    for node in graph.graph.node:
        if node.op_type == "Conv":
            name = node.input[1]
            weight = arrays[name]
            scale = np.abs(weight).max(axis=(1, 2, 3)) / 127
            whole = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
            parts = [
                constant(f"{name}_q", whole),
                constant(f"{name}_s", scale.astype(np.float32)),
                constant(f"{name}_z", np.zeros(len(scale), np.int8)),
            ]
            nodes.append(helper.make_node("DequantizeLinear", parts, [f"{name}_d"], axis=0))
            node.input[1] = f"{name}_d"
        if node.op_type != "Clip":
            nodes.append(node)
            continue
        # quantisers leave the activation out: bytes of this range end where it ends
        out = node.output[0]
        scale = constant(f"{out}_s", np.array(6 / 255, np.float32))
        zero = constant(f"{out}_z", np.array(0, np.uint8))
        quantized = helper.make_node("QuantizeLinear", [node.input[0], scale, zero], [f"{out}_q"])
        nodes.append(quantized)
        nodes.append(helper.make_node("DequantizeLinear", [f"{out}_q", scale, zero], [out]))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(added)
    onnx.save(graph, path)
    return path
