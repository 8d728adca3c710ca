from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compile.frontend.onnx_importer import read_network
from compile.tests.helpers import save_sample
from edge_runtime.errors import ModelInvalidError, ModelNotFoundError, NetworkUnsupportedError
from edge_runtime.model import InputSpec, ModelInfo


def test_the_shipped_network_is_read() -> None:
    root = Path(__file__).resolve().parents[3]
    network = read_network(root / "models" / "mobilenet_v1_hash64.onnx")
    assert [layer.kind for layer in network.layers] == ["stem", *["depthwise", "pointwise"] * 13]
    assert network.multiply_adds == 567_781_888
    assert network.layers[0].pads == (0, 0, 1, 1)
    assert network.hash_weight.shape == (64, 1024)


def test_batch_norm_is_folded_and_a_classifier_ignored(tmp_path: Path) -> None:
    path = save_sample(tmp_path / "m.onnx", batch_norm=True, classes=10)
    network = read_network(path)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"BatchNormalization", "MatMul"} <= kinds
    assert len(network.layers) == 27
    assert all(layer.limit == 6 for layer in network.layers)


def test_residuals_are_found(tmp_path: Path) -> None:
    network = read_network(save_sample(tmp_path / "m.onnx", "v2"))
    summed = [layer for layer in network.layers if layer.residual is not None]
    assert len(summed) == 5
    assert all(layer.limit is None for layer in summed)


def graph(
    path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], weights: dict[str, np.ndarray]
) -> Path:
    info = ModelInfo("", "", 0, "odd", "0", 8, 0.5, 2, InputSpec(size=32)).to_metadata()
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "odd",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("hash", TensorProto.FLOAT, [1, 8])],
            [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    helper.set_model_props(model, info)
    onnx.save(model, path)
    return path


def test_an_unknown_operator_is_named_with_its_node(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softplus", ["image"], ["a"], "strange"),
        helper.make_node("Sigmoid", ["a"], ["hash"]),
    ]
    path = graph(tmp_path / "m.onnx", nodes, [1, 3, 32, 32], {})
    with pytest.raises(NetworkUnsupportedError, match='Softplus "strange"'):
        read_network(path)


def test_an_unsupported_convolution_is_named(tmp_path: Path) -> None:
    weights = {
        "a": np.zeros((8, 3, 3, 3), np.float32),
        "b": np.zeros((8, 8, 3, 3), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["x"], "first", pads=[1] * 4),
        helper.make_node("Conv", ["x", "b"], ["hash"], "dense", pads=[1] * 4),
    ]
    with pytest.raises(NetworkUnsupportedError, match='Conv "dense": a 3 x 3 convolution'):
        read_network(graph(tmp_path / "m.onnx", nodes, [1, 3, 32, 32], weights))


def dense(path: Path, nodes: list[onnx.NodeProto], **attributes: object) -> Path:
    """Write a convolution, an average, `nodes`, and a Gemm with weights w, bias b, `attributes`."""
    generator = np.random.default_rng(1)
    weights = {
        "k": generator.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "w": generator.normal(size=(4, 8)).astype(np.float32),
        "b": generator.normal(size=8).astype(np.float32),
    }
    every = [
        helper.make_node("Conv", ["image", "k"], ["x"], "first", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["x"], ["y"]),
        *nodes,
        helper.make_node("Flatten", ["y"], ["z"]),
        helper.make_node("Gemm", ["z", "w", "b"], ["s"], "last", **attributes),
        helper.make_node("Sigmoid", ["s"], ["hash"]),
    ]
    return graph(path, every, [1, 3, 32, 32], weights)


def test_the_factors_of_a_dense_layer_are_folded(tmp_path: Path) -> None:
    plain = read_network(dense(tmp_path / "a.onnx", []))
    scaled = read_network(dense(tmp_path / "b.onnx", [], alpha=0.5, beta=3.0))
    assert np.array_equal(scaled.hash_weight, plain.hash_weight * np.float32(0.5))
    assert np.array_equal(scaled.hash_bias, plain.hash_bias * np.float32(3))
    with pytest.raises(NetworkUnsupportedError, match='Gemm "last": its input is transposed'):
        read_network(dense(tmp_path / "c.onnx", [], transA=1))


def test_a_constant_may_be_a_number_but_not_a_string(tmp_path: Path) -> None:
    model = onnx.load(dense(tmp_path / "a.onnx", []))
    clip = [
        helper.make_node("Constant", [], ["low"], value_float=0.0),
        helper.make_node("Constant", [], ["high"], "end", value_float=6.0),
        helper.make_node("Clip", ["x", "low", "high"], ["x6"]),
    ]
    nodes = list(model.graph.node)
    nodes[1].input[0] = "x6"
    del model.graph.node[:]
    model.graph.node.extend([nodes[0], *clip, *nodes[1:]])
    onnx.save(model, tmp_path / "b.onnx")
    assert read_network(tmp_path / "b.onnx").layers[0].limit == 6
    at = next(i for i, node in enumerate(model.graph.node) if node.name == "end")
    model.graph.node[at].CopyFrom(
        helper.make_node("Constant", [], ["high"], "end", value_string=b"six")
    )
    onnx.save(model, tmp_path / "c.onnx")
    with pytest.raises(NetworkUnsupportedError, match='Constant "end"'):
        read_network(tmp_path / "c.onnx")


def test_free_dimensions_are_rejected(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sigmoid", ["image"], ["hash"])]
    path = graph(tmp_path / "m.onnx", nodes, ["batch", 3, 32, 32], {})
    with pytest.raises(ModelInvalidError, match="no free dimension"):
        read_network(path)


def test_invalid_and_missing_files(tmp_path: Path) -> None:
    bad = tmp_path / "m.onnx"
    bad.write_bytes(b"not a model")
    with pytest.raises(ModelInvalidError, match="this is a text"):
        read_network(bad)
    with pytest.raises(ModelNotFoundError):
        read_network(tmp_path / "nowhere.onnx")


def test_a_truncated_model(tmp_path: Path, small_model: Path) -> None:
    bad = tmp_path / "m.onnx"
    bad.write_bytes(small_model.read_bytes()[:-5000])
    with pytest.raises(ModelInvalidError, match=r"incomplete: at least .* bytes are missing"):
        read_network(bad)
