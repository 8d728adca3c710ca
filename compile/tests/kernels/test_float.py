"""Every kernel, at random shapes and schedules, against its definition in numpy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tvm

from compile.codegen.lower import assembly
from compile.codegen.workloads import vector_of
from compile.kernels import head, separable, stem, strassen
from compile.target.description import Target, read_target
from compile.target.vector_unit import Vector
from compile.tests.helpers import CHANCE, aligned, call, numbers
from compile.tuning.runner import buffer_sizes
from compile.tuning.search_space import space


def depthwise(a: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, side: int) -> np.ndarray:
    out = np.zeros((side, side, a.shape[2])) + b
    for y in range(w.shape[0]):
        for x in range(w.shape[1]):
            out += (
                a[y : y + stride * side : stride, x : x + stride * side : stride][:side, :side]
                * w[y, x]
            )
    return np.asarray(out)


BLOCKS = {
    "stride 1": separable.Block(14, 14, 32, 64, 3, 1, (16, 16), 16 * 64),
    "stride 2": separable.Block(7, 7, 64, 32, 3, 2, (15, 15), 9 * 32),
    "no activation, residual": separable.Block(
        12, 12, 24, 16, 3, 1, (14, 14), 12 * 16, 6.0, None, residual_stride=13 * 16
    ),
    "pointwise alone": separable.Block(6, 6, 40, 72, 0, 1, (6, 8), 6 * 72, None, float("inf")),
    "odd channels": separable.Block(5, 5, 12, 20, 3, 1, (7, 7), 5 * 20),
}


@pytest.mark.parametrize("pick", range(2))
@pytest.mark.parametrize("operands", ["host", "by lane", "by lane, late"])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_matches_numpy(
    name: str, operands: str, pick: int, host: Target, tmp_path: Path
) -> None:
    block = BLOCKS[name]
    kind = host.vector if operands == "host" else Vector(4, by_lane=True)
    vector, late = vector_of(block, kind), operands.endswith("late")
    choices = [k for k in space(block, kind) if not k.strassen and k.late == late]
    config = choices[0] if pick == 0 else choices[int(CHANCE.integers(len(choices)))]
    kernels = separable.kernels("k", block, config, vector)
    a = numbers(*block.in_shape, block.channels)
    w, b = numbers(block.outputs, block.channels), numbers(block.outputs)
    packed = aligned(w.reshape(-1, config.nr, block.channels).transpose(0, 2, 1))
    out = numbers(block.height, block.out_stride)
    before = out.copy()
    front, expected = [a], a[: block.height, : block.width].astype(np.float64)
    if block.window:
        dw, db = numbers(block.window, block.window, block.channels), numbers(block.channels)
        front += [dw, db]
        expected = depthwise(a, dw, db, block.stride, block.height)
        expected = np.clip(expected, 0, block.middle_limit)
    expected = expected @ w.T.astype(np.float64) + b
    back = [packed, b]
    if block.residual_stride:
        residual = numbers(block.height, block.residual_stride // block.outputs, block.outputs)
        back.append(residual)
        expected += residual[:, : block.width]
    if block.limit is not None:
        expected = np.clip(expected, 0, block.limit)
    back.append(out)
    if config.fused:
        call(kernels, host, tmp_path, [[*front, *back]])
    else:
        middle = numbers(*separable.middle_shape(block, config, vector))
        call(kernels, host, tmp_path, [[*front, middle], [middle, *back]])
    inside = block.width * block.outputs
    found = out[:, :inside].reshape(block.height, block.width, block.outputs)
    assert np.abs(found - expected).max() < 1e-4, config
    assert (out[:, inside:] == before[:, inside:]).all(), "the kernel wrote into the border"


@pytest.mark.parametrize("pick", range(3))
@pytest.mark.parametrize("stride", [1, 2])
def test_seven_products_match_numpy(stride: int, pick: int, host: Target, tmp_path: Path) -> None:
    side = 15 if stride == 2 else 10
    block = separable.Block(8, 8, 64, 96, 3, stride, (side + 2, side + 2), 9 * 96)
    vector = vector_of(block, host.vector)
    choices = [config for config in space(block, host.vector) if config.strassen]
    config = choices[0] if pick == 0 else choices[int(CHANCE.integers(len(choices)))]
    kernels = strassen.kernels("k", block, config, vector)
    a = numbers(*block.in_shape, 64)
    dw, db, w, b = numbers(3, 3, 64), numbers(64), numbers(96, 64), numbers(96)
    out = numbers(8, block.out_stride)
    one = int(np.prod(strassen.left_shape(block, config, vector)))
    lefts, products = numbers(8, one), numbers(7, 32 * 48)
    quarters = [
        w.T[y : y + 32, x : x + 48].reshape(32, 48 // config.nr, config.nr).transpose(1, 0, 2)
        for y in (0, 32)
        for x in (0, 48)
    ]
    weights, rights = aligned(np.stack(quarters)), numbers(7, 32 * 48)
    prepare = strassen.prepare("prepare", block, vector)
    buffers = [[weights, rights], [a, dw, db, lefts], [lefts, lefts[4:]]]
    buffers += [[lefts[1:], rights, products], [products, b, out]]
    call([prepare, *kernels], host, tmp_path, buffers)
    middle = np.clip(depthwise(a, dw, db, stride, 8), 0, 6)
    expected = np.clip(middle @ w.T.astype(np.float64) + b, 0, 6)
    assert np.abs(out[:, : 8 * 96].reshape(8, 8, 96) - expected).max() < 3e-4, config


@pytest.mark.parametrize("edge", [0, 1])
@pytest.mark.parametrize("pad", [(127.5,) * 3, (103.5, 116.3, 123.7)])
def test_the_stem_matches_numpy(
    pad: tuple[float, ...], edge: int, host: Target, tmp_path: Path
) -> None:
    shape = stem.Stem(16, 16, 24, 32, 3, 2, edge, edge, pad, 17 * 24)
    config = space(shape, host.vector)[0]
    kernel = stem.kernel("k", shape, config, vector_of(shape, host.vector))
    image = aligned(CHANCE.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    w, b, out = numbers(3, 9, 24), numbers(24), numbers(16, 17 * 24)
    w *= 0.01
    padded = np.full((33, 33, 3), pad)
    padded[edge : edge + 32, edge : edge + 32] = image[: 33 - edge, : 33 - edge]
    expected = np.zeros((16, 16, 24)) + b
    for y in range(3):
        for x in range(3):
            expected += padded[y : y + 31 : 2, x : x + 31 : 2] @ w[y, 3 * x : 3 * x + 3]
    call([kernel], host, tmp_path, [[image, w, b, out]])
    found = out[:, : 16 * 24].reshape(16, 16, 24)
    assert np.abs(found - np.clip(expected, 0, 6)).max() < 1e-3


def test_the_head_matches_numpy(host: Target, tmp_path: Path) -> None:
    a, w, b, logits = numbers(9, 48), numbers(48, 16), numbers(16), numbers(16)
    sums = numbers(48)
    kernel = head.kernel("k", 9, 48, 16, host.vector.dividing(48, 16))
    call([kernel], host, tmp_path, [[a, w, b, sums, logits]])
    assert np.abs(sums - a.sum(axis=0)).max() < 1e-4
    assert np.abs(logits - (a.mean(axis=0) @ w + b)).max() < 1e-4


def test_a_buffer_includes_its_border() -> None:
    block = BLOCKS["stride 1"]
    target = read_target("rpi4")
    config = next(k for k in space(block, target.vector) if k.fused)
    (kernel,) = separable.kernels("k", block, config, target.vector)
    assert buffer_sizes(kernel)[-1] == (14 * block.out_stride, "float32")


def test_the_inner_loop_for_the_cortex_a72_holds_its_sums_in_registers() -> None:
    """A tile of 14 x 8 must not spill."""
    target = read_target("rpi4")
    block = separable.Block(14, 14, 512, 512, 3, 1, (16, 16), 16 * 512)
    config = separable.BlockConfig(14, 8, fused=False, tiles=1, unroll=16, tw=14, vc=4)
    kernels = separable.kernels("k", block, config, target.vector)
    text = assembly(kernels[1:], tvm.target.Target(target.llvm()))
    loop = innermost(text)
    fma = sum(line.startswith("fmla") for line in loop)
    assert fma == 14 * 2 * 16
    assert not any("sp" in line.split(",")[-1] for line in loop), "the tile spills"
    assert len(loop) <= 1.12 * fma


def test_the_inner_loop_for_the_cortex_a76_holds_its_sums_in_registers() -> None:
    """14 x 16 halves take 28 registers of sums. They only fit if the others are loaded late."""
    target = read_target("rpi5").at("fp16")
    block = separable.Block(14, 14, 512, 512, 3, 1, (16, 16), 16 * 512, dtype="float16")
    config = separable.BlockConfig(14, 16, fused=False, tiles=4, unroll=8, tw=14, vc=8, late=True)
    kernels = separable.kernels("k", block, config, target.vector)
    loop = innermost(assembly(kernels[1:], tvm.target.Target(target.llvm())))
    fma = sum(line.startswith("fmla") for line in loop)
    assert fma == 14 * 2 * 8
    assert not any("sp" in line.split(",")[-1] for line in loop), "the tile spills"
    assert len(loop) <= 1.09 * fma


@pytest.mark.parametrize(("name", "lanes", "most"), [("rpi4", 4, 280), ("rpi5", 8, 320)])
def test_pixels_are_transposed_in_registers(name: str, lanes: int, most: int) -> None:
    """14 pixels x one register of channels: 126 multiply-adds, their loads, and little else."""
    target = read_target(name).at("fp32" if lanes == 4 else "fp16")
    dtype = "float32" if lanes == 4 else "float16"
    block = separable.Block(14, 14, 512, 512, 3, 1, (16, 16), 16 * 512, dtype=dtype)
    config = separable.BlockConfig(14, 16, fused=False, tiles=1, tw=14, vc=lanes)
    kernels = separable.kernels("k", block, config, target.vector)
    loop = innermost(assembly(kernels[:1], tvm.target.Target(target.llvm())))
    assert sum(line.startswith("fmla") for line in loop) == 14 * 9
    assert not any(re.match(r"st1\t.*\]\[", line) for line in loop), "stored one value at a time"
    assert len(loop) <= most


def innermost(text: str) -> list[str]:
    """Return the instructions of the loop with the largest share of multiply-adds."""
    loops: list[list[str]] = []
    labels: dict[str, int] = {}
    lines: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if line.endswith(":") and line.startswith(".LBB"):
            labels[line[:-1]] = len(lines)
        elif line and not line.startswith((".", "//")) and not line.endswith(":"):
            lines.append(line)
            if line.split()[-1] in labels and line.startswith("b"):
                loops.append(lines[labels[line.split()[-1]] :])
    return max(loops, key=lambda loop: sum(i.startswith("fmla") for i in loop) / len(loop))


@pytest.mark.parametrize("target", ["host", "rpi4"])
def test_weights_are_prefetched_where_that_pays(target: str) -> None:
    block, machine = separable.Block(14, 14, 64, 64), read_target(target)
    config = separable.BlockConfig(
        7, 2 * machine.vector.lanes, fused=False, tw=7, vc=machine.vector.lanes
    )
    _, product = separable.kernels("f", block, config, machine.vector)
    text = assembly([product], tvm.target.Target(machine.llvm()))
    assert ("prefetch" in text or "prfm" in text) != machine.vector.by_lane
