"""Models whose weights are in another file, or are not numbers: what enters a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compile import cache
from compile.frontend.onnx_importer import read_network
from compile.promote import copy_model, promote, write_portable_bundle
from compile.target.description import Target
from compile.tests.helpers import save_sample
from compile.verify.request import Request
from edge_runtime.bundle import MODEL, portable_model
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import ModelInvalidError
from edge_runtime.model import identify
from edge_runtime.trust.manifest import read_manifest


def _edited(model: Path, to: Path, weight: float | None, *, location: str = "") -> Path:
    """Copy `model` with one weight changed and, with `location`, the weights in that file."""
    proto = onnx.load(model)
    tensor = next(each for each in proto.graph.initializer if each.data_type == 1)
    values = numpy_helper.to_array(tensor).copy()
    if weight is not None:
        values.flat[-1] = weight
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    to.parent.mkdir(exist_ok=True)
    outside = {"save_as_external_data": True, "location": location, "size_threshold": 0}
    onnx.save_model(proto, to, **(outside if location else {}))
    return to


def test_weights_in_another_file_enter_the_bundle(tmp_path: Path, small_model: Path) -> None:
    apart = _edited(small_model, tmp_path / "a" / "m.onnx", None, location="m.onnx.data")
    folder = tmp_path / "bundle"
    folder.mkdir()
    copy_model(apart, folder)
    assert [file.name for file in folder.iterdir()] == [MODEL]
    assert identify(folder / MODEL) == identify(apart)
    onnx.checker.check_model(onnx.load(folder / MODEL))
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    codes = {tuple(PortableEngine(each).hash(picture)) for each in (apart, folder / MODEL)}
    assert codes == {tuple(PortableEngine(small_model).hash(picture))}
    one, other = read_network(apart), read_network(small_model)
    for first, second in zip(one.layers, other.layers, strict=True):
        np.testing.assert_array_equal(first.weight, second.weight)
    assert one.model.id == identify(apart)[0]


def test_a_portable_bundle_holds_the_whole_model(
    tmp_path: Path, small_model: Path, host: Target
) -> None:
    apart = _edited(small_model, tmp_path / "a" / "m.onnx", 0.5, location="m.onnx.data")
    out = write_portable_bundle(Request(model=apart, target=host, out=tmp_path / "out"))
    (tmp_path / "a" / "m.onnx.data").unlink()
    model = portable_model(out)
    assert model is not None
    assert PortableEngine(model).model.id == read_manifest(out)["model"]["id"] == identify(model)[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("location", ["", "m.onnx.data"])
def test_weights_that_are_not_numbers_are_neither_compiled_nor_promoted(
    tmp_path: Path, small_model: Path, host: Target, value: float, location: str
) -> None:
    path = _edited(small_model, tmp_path / "a" / "m.onnx", value, location=location)
    with pytest.raises(ModelInvalidError, match="are not all finite numbers"):
        read_network(path)
    request = Request(model=path, target=host, out=tmp_path / "out")
    with pytest.raises(ModelInvalidError, match="are not all finite numbers"):
        write_portable_bundle(request)
    assert not list(tmp_path.glob("out*"))


def test_the_reason_of_onnx_is_told(tmp_path: Path, small_model: Path) -> None:
    proto = onnx.load(small_model)
    proto.ir_version = 99
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelInvalidError, match=r"onnx .* refuses it: .*ir_version 99") as caught:
        read_network(tmp_path / "m.onnx")
    assert "copy" not in caught.value.remedy


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    proto = onnx.load(save_sample(tmp_path / "good.onnx", batch_norm=True))
    for node in proto.graph.node:
        if node.op_type == "BatchNormalization":
            tensor = next(each for each in proto.graph.initializer if each.name == node.input[4])
            values = -1 - numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelInvalidError, match="with the scales after them"):
        read_network(tmp_path / "m.onnx")


def test_a_bundle_is_durable_before_it_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_rename = Path.rename

    def fsync(descriptor: int) -> None:
        events.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def rename(path: Path, to: Path) -> Path:
        events.append(f"rename {path.name} to {to.name}")
        return real_rename(path, to)

    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    out, staging = tmp_path / "out", tmp_path / "out.new"
    for folder in (out, staging / "part"):
        folder.mkdir(parents=True)
        (folder / "file").write_text(folder.name)
    (staging / "other").write_text("other")
    assert promote(staging, out) == out
    moved = events.index("rename out.new to out")
    files = ("", "/other", "/part", "/part/file")
    assert {f"{staging}{name}" for name in files} <= set(events[:moved])
    assert events[moved + 1].startswith(f"{out}.tar.gz.")
    assert events[-1] == str(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.tar.gz"]


def test_records_are_durable_when_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.partition(".")[0])

    monkeypatch.setattr("os.fsync", fsync)
    cache.write_text(tmp_path / "folder" / "records.json", "{}")
    assert synced == [tmp_path.name.partition(".")[0], "records", "folder"]
