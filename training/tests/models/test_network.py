from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import StorageError
from edge_runtime.model import MODEL_FILE, InputSpec, ModelInfo
from training.data.input_tensor import to_input
from training.hash_layer.backbone import from_backbone
from training.hash_layer.feature_model import cut_at_features, read_head, replace_head
from training.models.imagenet_weights import WeightsError, load_imagenet
from training.models.mobilenet_v1 import Backbone, HashNetwork, SameConv
from training.onnx import model_file
from training.onnx.export import build
from training.onnx.features_output import with_features, without_features
from training.onnx.model_file import ExportError, check_parity, save, session
from training.tests.conftest import ROOT


def small_network(bits: int = 16) -> HashNetwork:
    torch.manual_seed(0)
    network = HashNetwork(bits, width=0.25)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    network.eval()
    return network


def described(bits: int, size: int) -> dict[str, str]:
    return ModelInfo("", "", 0, "small", "t", bits, 0.5, 5, InputSpec(size=size)).to_metadata()


def head(network: HashNetwork) -> tuple[np.ndarray, np.ndarray]:
    return network.hash.weight.detach().numpy(), network.hash.bias.detach().numpy()


def test_same_padding_is_right_and_bottom_at_stride_two() -> None:
    conv = SameConv(1, 1, 3, 2)
    conv.weight.data.fill_(0)
    conv.weight.data[0, 0, 0, 0] = 1  # the kernel's top left corner
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    torch.testing.assert_close(conv(image), image[:, :, ::2, ::2])  # nothing above or left


def test_frozen_units_do_not_change() -> None:
    backbone = Backbone(0.25)
    backbone.freeze(7)
    backbone.train()
    backbone(torch.randn(2, 3, 64, 64)).sum().backward()
    units = list(backbone.units.children())
    assert not any(unit.training for unit in units[:7])
    assert all(p.grad is None for unit in units[:7] for p in unit.parameters())
    assert all(p.grad is not None for unit in units[7:] for p in unit.parameters())


def test_export_equals_torch_and_the_runtime_opens_it(tmp_path: Path) -> None:
    network, path = small_network(), tmp_path / "model.onnx"
    save(build(network.backbone, 64, head(network), described(16, 64)), path)
    rng = np.random.default_rng(1)
    squares = rng.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    expected = from_backbone(network.backbone, 64, "frozen").expected(head(network))
    report = check_parity(path, expected, (to_input(square)[0] for square in squares))
    assert report["photos"] == 6 and report["bits_differing"] == 0
    engine = PortableEngine(path)
    assert (engine.model.bits, engine.model.radius) == (16, 5)
    ours = network(torch.from_numpy(to_input(squares[0]))).detach().numpy()[0]
    np.testing.assert_allclose(engine.activations(squares[0]), ours, atol=1e-4)


def test_export_of_another_network_is_refused(tmp_path: Path) -> None:
    network, path = small_network(), tmp_path / "model.onnx"
    save(build(network.backbone, 64, head(network), described(16, 64)), path)
    weight, bias = head(network)
    other = from_backbone(network.backbone, 64, "frozen").expected((weight, bias + 1))
    with pytest.raises(ExportError, match="differs from what it was made of"):
        check_parity(path, other, [np.zeros((3, 64, 64), np.float32)])


def test_too_large_a_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "MAX_BYTES", 1000)
    network = small_network()
    with pytest.raises(ExportError, match="1000"):
        save(build(network.backbone, 64, head(network)), tmp_path / "model.onnx")


def test_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    network = small_network()
    with pytest.raises(StorageError):
        save(build(network.backbone, 64, head(network)), tmp_path / "file" / "model.onnx")


def test_cut_and_new_head(tmp_path: Path) -> None:
    network = small_network()
    model = build(network.backbone, 64, head(network), described(16, 64))
    image = np.random.default_rng(2).random((1, 3, 64, 64), np.float32)
    features = session(cut_at_features(model).SerializeToString())(image)
    expected = network.backbone(torch.from_numpy(image)).detach().numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4)
    weight, bias = read_head(model)
    info = ModelInfo("", "", 0, "own", "t", 16, 0.5, 3, InputSpec(size=64))
    changed = replace_head(model, (-weight, -bias), info)
    onnx.checker.check_model(changed)
    one = session(model.SerializeToString())(image)
    other = session(changed.SerializeToString())(image)
    np.testing.assert_allclose(one + other, 1, atol=1e-5)


def test_exported_features_are_those_of_torch(tmp_path: Path) -> None:
    network, path = small_network(), tmp_path / "model.onnx"
    save(build(network.backbone, 64, head(network), described(16, 64)), path)
    square = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    embedding = PortableEngine(path).embed(square)
    expected = network.backbone(torch.from_numpy(to_input(square))).detach().numpy()[0]
    assert embedding.features is not None
    np.testing.assert_allclose(embedding.features, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenet_v1_hash64", "mobilenet_v1_hash64_int8"])
def test_features_are_added_to_a_finished_file(name: str, tmp_path: Path) -> None:
    shipped = onnx.load(ROOT / "models" / f"{name}.onnx")
    plain = without_features(shipped)
    assert [each.name for each in plain.graph.output] == ["hash"]
    path = tmp_path / "model.onnx"
    save(with_features(with_features(plain, "a" * 64), "b" * 64), path)
    engine, old = PortableEngine(path), tmp_path / "old.onnx"
    save(plain, old)
    assert (engine.model.features, engine.model.same_codes_as) == (1024, ("a" * 64, "b" * 64))
    square = np.random.default_rng(3).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    embedding, before = engine.embed(square), PortableEngine(old)
    np.testing.assert_array_equal(engine.activations(square), before.activations(square))
    assert before.embed(square).features is None
    assert embedding.features is not None and embedding.features.shape == (1024,)
    other = PortableEngine(ROOT / "models" / f"{name}.onnx").embed(square)
    np.testing.assert_array_equal(embedding.features, other.features)


def test_features_need_a_hash_layer() -> None:
    network = small_network()
    with pytest.raises(ExportError, match="no Gemm and Sigmoid"):
        with_features(build(network.backbone, 64, None))


def test_a_new_head_has_the_codes_of_no_earlier_file(tmp_path: Path) -> None:
    model = without_features(onnx.load(ROOT / "models" / MODEL_FILE))
    weight, bias = read_head(model)
    info = PortableEngine(ROOT / "models" / MODEL_FILE).model
    path = tmp_path / "model.onnx"
    save(replace_head(model, (weight[:32], bias[:32]), replace(info, bits=32)), path)
    found = PortableEngine(path).model
    assert (found.bits, found.features, found.same_codes_as) == (32, 1024, ())


def test_weights_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        load_imagenet(tmp_path / "absent.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(WeightsError, match="not MobileNet"):
        load_imagenet(tmp_path / "other.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no arrays"])
def test_damaged_weights_are_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_imagenet(tmp_path / "w.npz")


def test_weights_of_another_shape_are_one_clear_line(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros(3))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_imagenet(tmp_path / "w.npy")
    norms = {f"Conv2d_0/BatchNorm/{name}": np.zeros(5)
             for name in ("gamma", "beta", "moving_mean", "moving_variance")}  # fmt: skip
    for shape in ((3, 3, 3, 5), (3, 3)):
        arrays: dict[str, Any] = {"Conv2d_0/weights": np.zeros(shape), **norms}
        np.savez(tmp_path / "w.npz", **arrays)
        with pytest.raises(WeightsError, match="not MobileNet-v1") as raised:
            load_imagenet(tmp_path / "w.npz")
        assert "\n" not in str(raised.value)
