"""A compiled network gives the pooled features that enter its hash layer, beside the code."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compile.codegen.link import build_library, describe
from compile.codegen.plan import make_plan
from compile.codegen.workloads import workloads
from compile.frontend.ir import Network
from compile.frontend.onnx_importer import read_network
from compile.quantization.calibrate import quantize
from compile.target.description import Target
from compile.target.vector_unit import SMULL, Vector
from compile.tests.helpers import random_pictures, save_sample
from compile.tuning.search_space import space
from compile.verify.images import load_views
from edge_runtime.bundle import MODEL
from edge_runtime.engine.compiled import CompiledEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import ModelInvalidError

SHIPPED = Path(__file__).resolve().parents[2] / "models"


def compiled(
    model: Path, target: Target, folder: Path, precision: str = "fp32", kind: str = ""
) -> tuple[CompiledEngine, Network]:
    """Compile `model` without a search, for the dot product `kind` in int8.

    This machine may lack fp16. It then rounds after every step.
    """
    target = target.at("int8") if precision == "int8" else target
    vector: Vector = replace(target.vector, dot_product_kind=kind) if kind else target.vector
    network = read_network(model)
    if precision == "int8":
        size = network.model.input.size
        network = quantize(network, load_views(None, size, 12, seed=4), vector)
    choices = {w.key: space(w.shape, target.vector)[0] for w in workloads(network, precision)}
    plan = make_plan(network, choices, target.vector, precision)
    bundle = folder / "bundle"
    bundle.mkdir()
    build_library(plan, target, folder / "work").replace(bundle / "libedge.so")
    (bundle / MODEL).write_bytes(model.read_bytes())
    describe(bundle, network, target, precision)
    return CompiledEngine(bundle, threads=2), network


def embedded(engine: CompiledEngine, picture: np.ndarray) -> np.ndarray:
    """Return the features; check that the code is the one of `hash`."""
    embedding = engine.embed(picture)
    assert embedding.code.tolist() == engine.hash(picture).tolist()
    assert embedding.features is not None
    assert embedding.features.dtype == np.float32
    assert embedding.features.shape == (engine.model.features,)
    return embedding.features


@pytest.mark.parametrize(("kind", "bits"), [("v1", 64), ("v2", 40)])
def test_fp32_features_are_those_of_onnx_runtime(
    kind: str, bits: int, host: Target, tmp_path: Path
) -> None:
    model = save_sample(tmp_path / "m.onnx", kind, bits=bits, classes=5)
    engine, network = compiled(model, host, tmp_path)
    reference = PortableEngine(model)
    for picture in [*random_pictures(96, 5), *load_views(None, 96, 5)]:
        features, expected = embedded(engine, picture), reference.embed(picture)
        assert expected.features is not None
        assert np.abs(features - expected.features).max() < 1e-3
        assert engine.hash(picture).tolist() == expected.code.tolist()
        logits = network.hash_weight @ features + network.hash_bias
        assert np.abs(logits - engine.logits(picture)).max() < 1e-3


@pytest.mark.parametrize("width", [0.25, 0.3])
@pytest.mark.parametrize(
    ("precision", "kind", "most"), [("int8", "", 0.25), ("int8", SMULL, 0.25), ("fp16", "", 0.02)]
)
def test_features_below_fp32_are_what_the_hash_layer_reads(
    precision: str, kind: str, most: float, width: float, host: Target, tmp_path: Path
) -> None:
    """The hash layer applied to the features gives the library's own logits.

    In int8 these are exact sums times weights that are rounded to float16, by up to 1/2048. How far
    the features are from fp32 depends on the calibration: on pictures that it has not seen, a
    channel saturates where it exceeds the calibrated range. `most` is the relative error allowed.
    """
    model = save_sample(tmp_path / "m.onnx", width=width)  # 0.3: channels are padded
    engine, network = compiled(model, host, tmp_path, precision, kind)
    reference = PortableEngine(model)
    for picture in load_views(None, 96, 20):
        features = embedded(engine, picture)
        weight = network.hash_weight[:, : len(features)]
        logits = weight @ features + network.hash_bias
        bound = np.abs(weight).max() * np.abs(features).sum() / 2048 + 1e-3
        assert np.abs(logits - engine.logits(picture)).max() < bound
        expected = reference.embed(picture).features
        assert expected is not None
        assert np.linalg.norm(features - expected) < most * np.linalg.norm(expected)


def test_a_network_without_the_output_gives_none(host: Target, tmp_path: Path) -> None:
    model = save_sample(tmp_path / "m.onnx", features=False)
    engine, _ = compiled(model, host, tmp_path)
    (picture,) = random_pictures(96, 1)
    assert engine.model.features == 0
    embedding = engine.embed(picture)
    assert embedding.features is None
    assert embedding.code.tolist() == PortableEngine(model).hash(picture).tolist()
    library = ctypes.CDLL(str(tmp_path / "bundle" / "libedge.so"))
    library.edge_error.restype = ctypes.c_char_p
    assert library.edge_features(None, None, None, None) == -1
    assert library.edge_error() == b"the network gives no features"


def test_features_of_no_picture_are_an_error(host: Target, tmp_path: Path) -> None:
    compiled(save_sample(tmp_path / "m.onnx"), host, tmp_path)
    library = ctypes.CDLL(str(tmp_path / "bundle" / "libedge.so"))
    library.edge_error.restype = ctypes.c_char_p
    assert library.edge_features(None, None, None, None) == -1
    assert library.edge_error() == b"network and picture must not be NULL"


@pytest.mark.parametrize("name", ["mobilenet_v1_hash64.onnx", "mobilenet_v1_hash64_int8.onnx"])
def test_the_shipped_networks_give_features(name: str) -> None:
    network = read_network(SHIPPED / name)
    assert network.model.features == network.layers[network.hash_source].outputs == 1024


def test_an_output_that_is_not_what_the_metadata_says_is_rejected(tmp_path: Path) -> None:
    path = save_sample(tmp_path / "m.onnx")
    model = onnx.load(path)
    (entry,) = (each for each in model.metadata_props if each.key == "edge.features")
    entry.value = "255"
    onnx.save(model, path)
    with pytest.raises(ModelInvalidError, match="is not the 255 averages"):
        read_network(path)
    entry.value = "256"
    (output,) = (each for each in model.graph.output if each.name == "features")
    model.graph.output.remove(output)
    onnx.save(model, path)
    with pytest.raises(ModelInvalidError, match="no output features"):
        read_network(path)
    (gemm,) = (node for node in model.graph.node if node.op_type == "Gemm")
    for node in model.graph.node:
        node.output[:] = ["pooled" if each == "features" else each for each in node.output]
        node.input[:] = ["pooled" if each == "features" else each for each in node.input]
    model.graph.node.append(helper.make_node("Identity", [gemm.output[0]], ["features"]))
    shape = [1, 64]
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, shape))
    onnx.save(model, path)
    with pytest.raises(ModelInvalidError, match="is not the 256 averages"):
        read_network(path)
