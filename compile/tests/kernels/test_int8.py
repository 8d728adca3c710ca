"""int8: every kernel against its definition in numpy, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compile.codegen.pack_weights import depthwise_constants, pointwise_constants, stem_constants
from compile.codegen.workloads import vector_of
from compile.frontend.ir import Layer, QuantizedLayer
from compile.frontend.onnx_importer import read_network
from compile.kernels import quantized, stem, words
from compile.kernels.separable import Block, BlockConfig
from compile.quantization.reference import run_layer
from compile.target.description import Target
from compile.target.vector_unit import PLAIN, SMULL, Vector
from compile.tests.helpers import aligned, call, numbers, save_sample
from compile.tuning.search_space import space

CHANCE = np.random.default_rng(8)

BLOCKS = {
    "stride 1": Block(14, 14, 32, 64, 3, 1, (16, 16), 16 * 64, dtype="int8"),
    "stride 2": Block(7, 7, 64, 32, 3, 2, (15, 15), 9 * 32, dtype="int8"),
    "residual": Block(
        12, 12, 48, 16, 3, 1, (14, 14), 12 * 16, residual_stride=13 * 16, dtype="int8"
    ),
    "pointwise alone": Block(6, 6, 48, 80, 0, 1, (6, 8), 6 * 80, dtype="int8"),
    "from float32": Block(
        8, 8, 32, 32, 3, 1, (10, 10), 9 * 32, dtype="int8", input_dtype="float32"
    ),
    "wide window": Block(5, 5, 16, 48, 5, 1, (9, 9), 5 * 48, dtype="int8"),
}


def ints(low: int, high: int, dtype: str, *shape: int) -> np.ndarray:
    return aligned(CHANCE.integers(low, high, shape, dtype=dtype))


def layers(block: Block) -> list[Layer]:
    """Return layers with arbitrary integers that the kernels must support."""
    k, n, window = block.channels, block.outputs, block.window
    result: list[Layer] = []
    if window:
        few = 255 // -(-(window**2) // 2)
        integers = QuantizedLayer(
            np.ones(k, np.float32),
            0,
            weight=ints(-few, few + 1, "int8", k, window, window),
            factor=ints(0, 32767, "int16", k),
            offset=ints(-9000, 9000, "int16", k),
            shift=ints(0, 9, "int16", k),
        )
        if block.input_dtype:
            integers.weight = numbers(k, window, window)
            integers.bias = numbers(k)
        weight = np.zeros((k, 1, window, window), np.float32)
        result.append(
            Layer("d", "depthwise", weight, weight[:, 0, 0, 0], -1, block.stride,
                  out_size=block.height, quantized=integers)
        )  # fmt: skip
    integers = QuantizedLayer(
        np.ones(n, np.float32),
        0,
        weight=ints(-63, 64, "int8", n, k),
        bias=ints(-9000, 9000, "int32", n),
        factor=ints(1 << 23, 1 << 28, "int32", n),
        residual=ints(0, 500, "int32", n),
    )
    weight = np.zeros((n, k, 1, 1), np.float32)
    result.append(Layer("p", "pointwise", weight, weight[:, 0, 0, 0], 0, quantized=integers))
    return result


def vectors(host: Target) -> list[Vector]:
    at = host.at("int8").vector
    return (
        [at] if at.dot_product_kind in (PLAIN, SMULL) else [at, replace(at, dot_product_kind=PLAIN)]
    )


@pytest.mark.parametrize("pick", range(4))
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_matches_numpy(name: str, pick: int, host: Target, tmp_path: Path) -> None:
    block = BLOCKS[name]
    for number, at in enumerate(vectors(host)):
        vector = vector_of(block, at)
        choices = space(block, at)
        config = choices[0] if pick == 0 else choices[int(CHANCE.integers(len(choices)))]
        (tmp_path / str(number)).mkdir()
        check(block, config, vector, host, tmp_path / str(number))


def check(block: Block, config: BlockConfig, vector: Vector, host: Target, folder: Path) -> None:
    *first, last = layers(block)
    kernels = quantized.kernels("k", block, config, vector)
    a = ints(-128, 128, "int8", *block.in_shape, block.channels)
    a = aligned(a / np.float32(7)) if block.input_dtype else a
    middle = a[: block.height, : block.width][np.newaxis]
    front = [a]
    if first:
        front += [aligned(np.ascontiguousarray(c)) for c in depthwise_constants(first[0])]
        middle = run_layer(first[0], a[np.newaxis])
    back = [aligned(c) for c in pointwise_constants(last, block, config, vector)]
    residual = None
    if block.residual_stride:
        wide = block.residual_stride // block.outputs
        rows = ints(-128, 128, "int8", block.height, wide, block.outputs)
        assert last.quantized is not None
        back += [rows, last.quantized.residual]
        residual = rows[np.newaxis, :, : block.width]
    expected = run_layer(last, middle, residual)[0]
    out = ints(-128, 128, "int8", block.height, block.out_stride)
    before = out.copy()
    if config.fused:
        call(kernels, host, folder, [[*front, *back, out]])
    else:
        d = ints(0, 9, "int32", *words.middle_shape(block, config, vector))
        call(kernels, host, folder, [[*front, d], [d, *back, out]])
    inside = block.width * block.outputs
    found = out[:, :inside].reshape(block.height, block.width, block.outputs)
    assert (found == expected).all(), (config, vector, (found != expected).mean())
    assert (out[:, inside:] == before[:, inside:]).all(), "the kernel wrote into the border"


@pytest.mark.parametrize("edge", [0, 1])
def test_the_stem_matches_numpy(edge: int, host: Target, tmp_path: Path) -> None:
    image = ints(0, 256, "uint8", 32, 32, 3)
    integers = QuantizedLayer(
        np.ones(48, np.float32),
        0,
        weight=ints(-127, 128, "int8", 48, 3, 3, 3),
        bias=ints(-9000, 9000, "int32", 48),
        factor=ints(1 << 23, 1 << 28, "int32", 48),
    )
    weight = np.zeros((48, 3, 3, 3), np.float32)
    layer = Layer(
        "s", "stem", weight, weight[:, 0, 0, 0], -1, 2, (edge, edge, 1, 1),
        out_size=16, quantized=integers,
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
        integer=True,
    )
    network = read_network(save_sample(tmp_path / "m.onnx"))
    expected = run_layer(layer, (image ^ 128).view(np.int8)[np.newaxis, ..., ::-1])[0]
    for number, at in enumerate(vectors(host)):
        if at.dot_product_kind == SMULL:
            pytest.skip("this CPU computes its first layer in float32")
        vector = vector_of(shape, at)
        config = space(shape, at)[0]
        constants = [aligned(c) for c in stem_constants(network, layer, shape, vector)]
        out = ints(-128, 128, "int8", 16, 17 * 48)
        folder = tmp_path / str(number)
        folder.mkdir()
        kernel = stem.kernel("k", shape, config, vector)
        call([kernel], host, folder, [[image, *constants, out]])
        assert (out[:, : 16 * 48].reshape(16, 16, 48) == expected).all(), (config, vector)
