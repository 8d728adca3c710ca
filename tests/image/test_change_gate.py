"""The scene-change gate passes the right frames and costs no recognitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.clip import film
from demo.scenes import read_scene
from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.daemon import Daemon
from edge_runtime.engine import Engine
from edge_runtime.errors import PhotoError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image import Image
from edge_runtime.image.change_gate import ChangeGate, GateOptions
from edge_runtime.image.decode import decode_photo
from edge_runtime.image.lazy_jpeg import JpegPicture, Picture
from edge_runtime.image.preprocess import preprocess, views_of
from edge_runtime.recognition.pipeline import Pipeline, code_of
from edge_runtime.types import QueryResult

STEADY = GateOptions(refresh_s=3600)


def _noisy(image: Image, generator: np.random.Generator, sigma: float = 6) -> Image:
    noise = generator.normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def test_a_still_scene_is_hashed_only_five_times(cat: Image) -> None:
    gate, generator = ChangeGate(STEADY), np.random.default_rng(3)
    passed = [gate.should_hash(preprocess(_noisy(cat, generator), 224)) for _ in range(200)]
    assert passed == [True] * 5 + [False] * 195
    assert (gate.hashed, gate.unchanged) == (5, 195)


def test_a_change_passes_on_its_first_frame(cat: Image) -> None:
    gate = ChangeGate(STEADY)
    square = preprocess(cat, 224)
    while gate.should_hash(square):
        pass
    changed = square.copy()
    changed[100:112, 100:112] = 255 - changed[100:112, 100:112] // 2  # 0.3 % of the image
    assert gate.should_hash(changed)
    assert [gate.should_hash(changed) for _ in range(6)] == [True] * 4 + [False] * 2


def test_slow_changes_add_up(cat: Image) -> None:
    gate = ChangeGate(STEADY)
    square = preprocess(cat, 224)
    while gate.should_hash(square):
        pass
    darker = [np.maximum(square, step) - step for step in range(1, 40)]
    assert any(gate.should_hash(picture) for picture in darker)


def test_a_still_scene_is_refreshed(cat: Image) -> None:
    gate = ChangeGate(GateOptions(refresh_s=0))
    square = preprocess(cat, 224)
    assert all(gate.should_hash(square) for _ in range(20))


def _hand_held_then_still(cat: Image) -> Iterator[Image]:
    """Yield frames of a camera that is hand-held, then still for some time, and so on."""
    generator = np.random.default_rng(7)
    for photo in (cat, read_scene("coffee.png"), read_scene("grass.png"), cat):
        last = photo
        for last in film(photo, 12, generator):
            yield last
        for _ in range(25):
            yield _noisy(last, generator, 4)


def _events(
    engine: Engine, path: Path, frames: Iterable[Image | Picture], gate: ChangeGate | None
) -> list[tuple[str, str, int]]:
    from edge_runtime.sinks import ListSink

    sink = ListSink()
    with (
        Gallery(path, engine.model, read_only=True) as gallery,
        CameraSupervisor(FakeSource(frames)) as camera,
    ):
        Daemon(camera, Pipeline(engine, gallery, gate=gate), [sink]).run()
    return [(event.kind, event.label, event.sequence) for event in sink.events]


def _enrolled(engine: Engine, folder: Path, cat: Image) -> Path:
    path = folder / "g.sqlite"
    with Gallery(path, engine.model, create=True) as gallery:
        for label, photo in (("cat", cat), ("cup", read_scene("coffee.png"))):
            gallery.enroll([LabeledCode(label, code_of(engine, view)) for view in views_of(photo)])
    return path


def test_the_gate_costs_no_recognition_and_no_delay(
    engine: Engine, tmp_path: Path, cat: Image
) -> None:
    path = _enrolled(engine, tmp_path, cat)
    frames = list(_hand_held_then_still(cat))
    gate = ChangeGate(STEADY)
    assert _events(engine, path, frames, gate) == _events(engine, path, frames, None)
    assert gate.unchanged > 60


def test_a_label_enrolled_in_a_still_scene_is_recognized_at_once(
    engine: Engine, tmp_path: Path, cat: Image
) -> None:
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        pipeline = Pipeline(engine, gallery, gate=ChangeGate(STEADY))
        for _ in range(10):
            result = pipeline.query_frame(Picture(cat))
        assert result.verdict.label is None
        assert "hash" not in result.stage_ms
        gallery.enroll([LabeledCode("cat", code_of(engine, cat))])
        result = pipeline.query_frame(Picture(cat))
        assert "hash" not in result.stage_ms
        assert result.verdict.label == "cat"


@pytest.mark.parametrize("size", [(48, 64), (1080, 1920), (33, 900)])
def test_images_of_any_size_are_accepted(size: tuple[int, int]) -> None:
    gate = ChangeGate()
    assert gate.should_hash(preprocess(np.zeros((*size, 3), np.uint8), 224))


def _jpeg(image: Image, quality: int = 80) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_unchanged_jpegs_are_not_fully_decoded(engine: Engine, tmp_path: Path, cat: Image) -> None:
    generator = np.random.default_rng(3)
    still = [JpegPicture(_jpeg(_noisy(cat, generator))) for _ in range(20)]
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        gallery.enroll([LabeledCode("cat", code_of(engine, cat))])
        results: list[QueryResult] = []
        with CameraSupervisor(FakeSource(still)) as camera:
            Daemon(
                camera,
                Pipeline(engine, gallery, gate=ChangeGate(STEADY)),
                observers=[lambda seen: results.append(seen.result)],
            ).run()
    assert [picture.encoded for picture in still] == [False] * 5 + [True] * 15
    assert ["hash" in result.stage_ms for result in results] == [True] * 5 + [False] * 15
    assert all(result.verdict.label == "cat" for result in results)
    assert all(result.stage_ms["decode"] > 0 for result in results)


def test_a_jpeg_that_passes_gets_the_code_of_the_same_photo(
    engine: Engine, tmp_path: Path, cat: Image
) -> None:
    data = _jpeg(cv2.resize(cat, (1600, 1200)))  # type: ignore[arg-type]
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        gallery.enroll([LabeledCode("cat", code_of(engine, decode_photo(data)))])
        picture = JpegPicture(data)
        assert picture.usable(preview_only=True)
        assert picture.encoded
        result = Pipeline(engine, gallery, gate=ChangeGate(STEADY)).query_frame(picture)
    assert result.matches[0].distance == 0
    assert list(result.stage_ms)[:3] == ["gate", "decode", "fit"]


def test_the_gate_costs_no_recognition_and_no_delay_with_jpegs(
    engine: Engine, tmp_path: Path, cat: Image
) -> None:
    path = _enrolled(engine, tmp_path, cat)
    frames = [_jpeg(frame) for frame in _hand_held_then_still(cat)]
    gate = ChangeGate(STEADY)
    gated = _events(engine, path, map(JpegPicture, frames), gate)
    assert gated == _events(engine, path, map(JpegPicture, frames), None)
    assert gate.unchanged > 60


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(90)]
)
def test_data_that_is_not_a_jpeg_is_unusable(data: bytes) -> None:
    for preview_only in (True, False):
        assert not JpegPicture(data).usable(preview_only=preview_only)
    with pytest.raises(PhotoError):
        assert JpegPicture(data).image


def test_a_jpeg_bomb_is_rejected_without_decoding(cat: Image) -> None:
    data = bytearray(_jpeg(cat))
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    assert not JpegPicture(bytes(data)).usable(preview_only=True)


def test_a_jpeg_without_its_end_marker_is_usable(cat: Image) -> None:
    data = _jpeg(cat)
    for preview_only in (True, False):
        assert JpegPicture(data[:-2]).usable(preview_only=preview_only)


def test_pixels_of_a_wrong_shape_are_unusable() -> None:
    for shape in ((4, 4), (4, 4, 1), (0, 4, 3)):
        assert not Picture(np.zeros(shape, np.uint8)).usable(preview_only=True)
