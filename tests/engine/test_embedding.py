"""The network gives its pooled features beside the code, from the same run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.code import Code
from edge_runtime.engine.base import Engine as BaseEngine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.errors import GalleryModelMismatchError, ModelInvalidError
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import InputSpec, ModelInfo, parse_metadata
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from tests.support.processes import ROOT

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"
INT8_MODEL = ROOT / "models" / "mobilenet_v1_hash64_int8.onnx"
OLD_ID = "8503bfe2514534b8d329be7e91db22a969b493eb43c1266da98da81ec042d54a"
"""The shipped model before it gave features."""
KEYS = (b"edge.features", b"edge.same_codes_as")


@pytest.fixture
def old_model(tmp_path: Path) -> Path:
    """Return a copy of the shipped model without the metadata that came with the features."""
    content = MODEL.read_bytes()
    for key in KEYS:
        assert content.count(key) == 1
        content = content.replace(key, b"x" * len(key))
    path = tmp_path / "old.onnx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("model", [MODEL, INT8_MODEL])
def test_an_embedding_has_the_code_of_hash(model: Path, cat: Image) -> None:
    engine = PortableEngine(model)
    for picture in (cat, cat[::-1], np.ascontiguousarray(cat[:, ::-1]), cat // 3):
        square = preprocess(picture, 224)
        embedding = engine.embed(square)
        np.testing.assert_array_equal(embedding.code, engine.hash(square))
        assert embedding.features is not None
        assert embedding.features.shape == (engine.model.features,) == (1024,)
        assert embedding.features.dtype == np.float32
        assert embedding.features.min() >= 0 and embedding.features.max() <= 6


def test_an_embedding_is_not_changed_by_the_next_one(cat: Image) -> None:
    engine = PortableEngine(MODEL)
    first = engine.embed(preprocess(cat, 224))
    assert first.features is not None
    copies = first.code.copy(), first.features.copy()
    engine.embed(preprocess(255 - cat, 224))
    np.testing.assert_array_equal(first.code, copies[0])
    np.testing.assert_array_equal(first.features, copies[1])


def test_the_stages_are_those_of_hash(cat: Image) -> None:
    engine, square = PortableEngine(MODEL), preprocess(cat, 224)
    timers = StageTimer(), StageTimer()
    engine.hash(square, timers[0])
    engine.embed(square, timers[1])
    assert list(timers[0].stage_ms) == list(timers[1].stage_ms) == ["hash", "pack"]


def test_a_model_without_features_works(old_model: Path, cat: Image) -> None:
    engine, square = PortableEngine(old_model), preprocess(cat, 224)
    assert (engine.model.features, engine.model.same_codes_as) == (0, ())
    embedding = engine.embed(square)
    assert embedding.features is None
    np.testing.assert_array_equal(embedding.code, PortableEngine(MODEL).hash(square))


def test_an_engine_without_features_gives_none() -> None:
    class OnlyHash(BaseEngine):
        def hash(self, image: Image, timer: StageTimer = NO_TIMER) -> Code:
            return np.array([7], np.uint64)

    embedding = OnlyHash().embed(np.zeros((8, 8, 3), np.uint8))
    assert (embedding.code.tolist(), embedding.features) == ([7], None)


def test_the_fake_engine_gives_the_means_of_its_cells(fake_engine: FakeEngine, cat: Image) -> None:
    embedding = fake_engine.embed(cat)
    assert embedding.features is not None
    assert embedding.features.shape == (fake_engine.model.features,) == (64,)
    assert embedding.features.dtype == np.float32
    assert -1 <= embedding.features.min() < 0 < embedding.features.max() <= 1
    assert abs(embedding.features.mean()) < 1e-6
    np.testing.assert_array_equal(embedding.code, fake_engine.hash(cat))


def test_a_missing_or_different_output_is_an_error(tmp_path: Path) -> None:
    for old, new, what in (
        (b"edge.features\x12\x041024", b"edge.features\x12\x041023", r"\[1, 1024\].*\[1, 1023\]"),
        (b"features", b"featured", "output features is missing"),
    ):
        content = MODEL.read_bytes().replace(old, new).replace(b"edge.featured", b"edge.features")
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelInvalidError, match=what):
            PortableEngine(path)


def info(**changes: object) -> ModelInfo:
    metadata = ModelInfo("", "", 0, "m", "1", 64, 0.5, 8, InputSpec()).to_metadata()
    entries = {key: str(value) for key, value in changes.items()}
    return parse_metadata(
        metadata | {f"edge.{key}": value for key, value in entries.items()},
        path="m.onnx", model_id="1" * 64, size_bytes=0,
    )  # fmt: skip


def test_the_metadata_survives_writing_and_reading() -> None:
    assert (info().features, info().same_codes_as) == (0, ())
    ids = "a" * 64, "b" * 64
    read = info(features=1024, same_codes_as=",".join(ids))
    assert (read.features, read.same_codes_as) == (1024, ids)
    again = parse_metadata(read.to_metadata(), path="m.onnx", model_id="1" * 64, size_bytes=0)
    assert again == read
    assert not {"edge.features", "edge.same_codes_as"} & set(info().to_metadata())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("features", "many"),
        ("features", "1.5"),
        ("features", "-1"),
        ("features", str(1 << 20)),
        ("same_codes_as", "a" * 63),
        ("same_codes_as", "A" * 64),
        ("same_codes_as", "a" * 64 + ",model.onnx"),
    ],
)
def test_malformed_metadata_is_rejected(key: str, value: str) -> None:
    with pytest.raises(ModelInvalidError, match=r"m\.onnx: .*(features|same_codes_as|invalid)"):
        info(**{key: value})


def test_a_gallery_of_a_model_with_the_same_codes_opens(
    tmp_path: Path, fake_engine: FakeEngine
) -> None:
    assert PortableEngine(MODEL).model.same_codes_as == (OLD_ID,)
    old = info()
    path = tmp_path / "gallery.sqlite"
    with Gallery(path, old, create=True):
        pass
    new = info(same_codes_as="2" * 64 + "," + old.id)
    renamed = parse_metadata(new.to_metadata(), path="n.onnx", model_id="3" * 64, size_bytes=0)
    with Gallery(path, renamed) as opened:
        assert opened.model_id == old.id
    with pytest.raises(GalleryModelMismatchError):
        Gallery(path, fake_engine.model)
