"""int8 networks as a whole: their codes, their rounding, and ONNX files that are int8 already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compile.build import compile_bundle
from compile.frontend.onnx_importer import read_network
from compile.quantization.calibrate import quantize
from compile.quantization.gptq import quantize_weights
from compile.target.description import Target
from compile.target.vector_unit import SMULL
from compile.tests.helpers import codes, difference, save_sample
from compile.verify import criteria
from compile.verify.images import load_views
from compile.verify.request import Request
from edge_runtime.errors import CompileError

CHANCE = np.random.default_rng(8)


@pytest.mark.parametrize(("kind", "width"), [("v1", 0.25), ("v2", 0.5)])
@pytest.mark.parametrize("dot_product", ["host", SMULL])
def test_int8_codes_are_close_to_fp32(
    kind: str, width: float, dot_product: str, host: Target, tmp_path: Path
) -> None:
    """With channel counts that are not multiples of 16, residuals, and sums limited to 16 bits."""
    model = save_sample(tmp_path / "m.onnx", kind, width=width)
    target = host.at("int8")
    vector = target.vector
    if dot_product == SMULL:
        vector = replace(vector, dot_product_kind=SMULL)
    network = quantize(read_network(model), load_views(None, 96, 12, seed=4), vector)
    assert all(tensor.outputs % 16 == 0 for tensor in network.layers)
    views = load_views(None, 96, 60)
    # Codes of random weights are near their threshold; a trained network has far fewer such bits.
    assert difference(model, codes(network, target, tmp_path / "work", views), views) < 0.05


def test_gptq_loses_least_where_inputs_are_correlated() -> None:
    inputs = CHANCE.normal(0, 1, (4000, 1)) + CHANCE.normal(0, 0.2, (4000, 40))
    weight = CHANCE.normal(0, 1, (8, 40))
    moments = inputs.T @ inputs / len(inputs)

    def lost(known: np.ndarray | None) -> float:
        rounded, step = quantize_weights(
            weight, lambda w: w[:, :20].sum(axis=1), np.full(8, 1e-9), known
        )
        assert np.abs(rounded[:, :20].astype(int)).sum(axis=1).max() <= 255
        return float(np.square(inputs @ (weight - rounded * step[:, np.newaxis]).T).mean())

    assert lost(moments) < 0.3 * lost(None)


def test_an_int8_file_is_read_with_its_ranges(small_model: Path, tmp_path: Path) -> None:
    path = in_qdq(small_model, tmp_path / "qdq.onnx")
    network, plain = read_network(path), read_network(small_model)
    assert network.is_int8 and not plain.is_int8
    for layer, other in zip(network.layers, plain.layers, strict=True):
        assert layer.output_range == pytest.approx((0, 6))
        assert np.abs(layer.weight - other.weight).max() <= np.abs(other.weight).max() / 254 + 1e-6


def test_an_int8_file_becomes_a_bundle(small_model: Path, host: Target, tmp_path: Path) -> None:
    path = in_qdq(small_model, tmp_path / "qdq.onnx")
    request = Request(path, host, tmp_path / "out", "int8", trials=1, records=tmp_path, pictures=20)
    evidence = compile_bundle(request).evidence
    assert evidence["parity"]["share_equal"] > 0.9  # random weights, see above
    assert evidence["accuracy"]["views"] == criteria.VIEWS
    request.precision = "fp32"
    with pytest.raises(CompileError, match="PRECISION=int8"):
        compile_bundle(request)


def in_qdq(model: Path, path: Path) -> Path:
    """Write `model` as quantizers do: weights and outputs of convolutions are bytes."""
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
        # Quantizers omit the activation: the range of the bytes clips as it would.
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
