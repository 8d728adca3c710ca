"""The query path with the real network, and decisions about synthetic matches."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.scenes import read_scene
from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.supervisor import CameraSupervisor
from edge_runtime.code import hamming, pack
from edge_runtime.daemon import Daemon
from edge_runtime.engine import Engine, open_engine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.enroll import EnrollOptions, enroll_photos
from edge_runtime.errors import InputError, ModelInvalidError, ModelNotFoundError
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.image import Image
from edge_runtime.image.preprocess import preprocess, views_of
from edge_runtime.model import MODEL_FILE, PACKAGED_MODEL_FILE, find_model
from edge_runtime.recognition.pipeline import Pipeline, code_of
from edge_runtime.recognition.voting import image_verdict
from edge_runtime.sinks import JsonSink, ListSink, TextSink
from edge_runtime.system.stage_timer import StageTimer, Timings, percentile
from edge_runtime.types import Match, Verdict
from tests.support.processes import ROOT

MODEL = ROOT / "models" / MODEL_FILE


def test_the_shipped_network_has_the_papers_size(engine: Engine) -> None:
    assert engine.model.bits == 64
    assert engine.model.size_bytes <= 13_200_000
    assert 0 < engine.model.radius < 32


def test_several_images_have_one_joint_result(engine: Engine, tmp_path: Path, cat: Image) -> None:
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        gallery.enroll(
            [
                LabeledCode("cat", code_of(engine, cat)),
                LabeledCode("tac", code_of(engine, cat[::-1])),
            ]
        )
        pipeline = Pipeline(engine, gallery)
        fused = pipeline.query_together([cat, cat[4:, 4:], cat[::-1]])
        assert fused.verdict.label == fused.label_scores[0].label == "cat"
        assert fused.label_scores[0].images >= 2
        assert Pipeline(engine, gallery, labels=["tac"]).query(cat).matches[0].label == "tac"
        with pytest.raises(InputError, match="radius must be between 0 and 64, got 65"):
            Pipeline(engine, gallery, radius=65)


def test_bits_are_the_activations_above_one_half(engine: Engine, cat: Image) -> None:
    assert isinstance(engine, PortableEngine)
    square = preprocess(cat, 224)
    activations = engine.activations(square)
    assert activations.shape == (64,)
    assert ((activations >= 0) & (activations <= 1)).all()
    assert (engine.hash(square) == pack(activations > 0.5)).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_codes(
    engine: Engine, cat: Image, threads: int
) -> None:
    other = open_engine(threads=threads)
    assert (code_of(other, cat) == code_of(engine, cat)).all()


def test_similar_photos_have_nearer_codes(engine: Engine) -> None:
    left, right, cup = (
        code_of(engine, read_scene(name))
        for name in ("motorcycle_left.png", "motorcycle_right.png", "coffee.png")
    )
    assert hamming(left, right) < hamming(left, cup)


def test_stages_are_timed_on_the_path_itself(engine: Engine, tmp_path: Path, cat: Image) -> None:
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        gallery.enroll([LabeledCode("cat", code_of(engine, cat))])
        result = Pipeline(engine, gallery).query(cat)
    assert result.verdict == Verdict("cat", 1.0, 0)
    assert list(result.stage_ms) == ["fit", "hash", "pack", "lookup", "decide"]
    assert all(ms >= 0 for ms in result.stage_ms.values())


def _edited(old: bytes, new: bytes) -> bytes:
    data = MODEL.read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    return data.replace(old, new)


def test_unusable_models_are_rejected(tmp_path: Path) -> None:
    bits = b"edge.bits\x12\x0264"
    broken = {
        "not ONNX": (b"nonsense" * 100, 'a text that begins with "nonsense'),
        "empty": (b"", "the file is empty"),
        "truncated": (MODEL.read_bytes()[:1_000_000], "incomplete: .* bytes are missing"),
        "other format": (
            _edited(b"edge.format", b"none.format"),
            "not a hash network of edge-runtime",
        ),
        "newer": (_edited(b"edge.format\x12\x011", b"edge.format\x12\x019"), "model format 9"),
        "output": (
            _edited(bits, bits.replace(b"64", b"32")),
            r"model output is \[1, 64\], but its metadata requires \[1, 32\]",
        ),
        "no number": (_edited(bits, bits.replace(b"64", b"6x")), "malformed"),
        "no bits": (_edited(bits, bits.replace(b"64", b"-1")), "got -1 bits"),
        "lacks": (_edited(b"edge.bits", b"edge.bats"), "lacks 'edge.bits'"),
        "order": (_edited(b"little", b"hither"), "bit_order"),
        "geometry": (_edited(b'"squash"', b'"crunch"'), "geometry"),
        "size": (_edited(b'"size": 224', b'"size": 192'), "model input is"),
    }
    for name, (data, what) in broken.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        with pytest.raises(ModelInvalidError, match=what) as caught:
            PortableEngine(path)
        assert str(caught.value).startswith(str(path)), name
        assert "\n" not in str(caught.value), name


def test_the_search_order_for_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model() == MODEL
    other = tmp_path / "other.onnx"
    other.touch()
    monkeypatch.setenv("EDGE_RUNTIME_MODEL", str(other))
    assert find_model() == other
    assert find_model(MODEL) == MODEL
    with pytest.raises(ModelNotFoundError, match="no such model file"):
        find_model(tmp_path / "none.onnx")
    monkeypatch.setenv("EDGE_RUNTIME_MODEL", str(tmp_path / "none.onnx"))
    with pytest.raises(ModelNotFoundError, match="check the path in EDGE_RUNTIME_MODEL"):
        find_model()
    with pytest.raises(ModelNotFoundError, match="this is a folder"):
        PortableEngine(tmp_path)


def test_an_installed_package_uses_the_model_that_it_carries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "edge_runtime"
    monkeypatch.setattr("edge_runtime.model.__file__", str(package / "model.py"))
    carried = package / "data" / PACKAGED_MODEL_FILE
    with pytest.raises(ModelNotFoundError, match="no model found") as caught:
        find_model()
    for place in ("EDGE_RUNTIME_MODEL", str(package.parent / "models" / MODEL_FILE), str(carried)):
        assert place in str(caught.value)
    carried.parent.mkdir(parents=True)
    carried.touch()
    assert find_model() == carried


def test_near_neighbors_outvote_far_ones() -> None:
    matches = [Match(1, "cat", 2), *(Match(n, "dog", 9) for n in range(2, 6))]
    assert image_verdict(matches, 10).label == "cat"
    crowd = [Match(1, "cat", 2), *(Match(n, "dog", 3) for n in range(2, 6))]
    assert image_verdict(crowd, 10).label == "dog"
    assert image_verdict(crowd, 10).distance == 3


def test_matches_outside_the_radius_are_unknown() -> None:
    assert image_verdict([Match(1, "cat", 11)], 10) == Verdict(None, 0.0, 11)
    assert image_verdict([Match(1, "cat", 10)], 10).label == "cat"
    assert image_verdict([], 10) == Verdict(None, 0.0, None)


def test_a_tie_goes_to_the_lower_id() -> None:
    assert image_verdict([Match(1, "cat", 5), Match(2, "dog", 5)], 10).label == "cat"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 64)), max_size=12),
    st.integers(0, 64),
)
def test_the_verdict_is_a_label_within_the_radius(
    pairs: list[tuple[str, int]], radius: int
) -> None:
    pairs.sort(key=lambda pair: pair[1])
    matches = [Match(n, label, distance) for n, (label, distance) in enumerate(pairs)]
    verdict = image_verdict(matches, radius)
    near = {label for label, distance in pairs if distance <= radius}
    assert (verdict.label in near) if near else (verdict.label is None)
    assert 0 <= verdict.confidence <= 1


def test_the_daemon_with_a_camera(engine: Engine, tmp_path: Path, cat: Image) -> None:
    cup = read_scene("coffee.png")
    text, lines, events = io.StringIO(), io.StringIO(), ListSink()
    current_labels = []
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        gallery.enroll(
            [LabeledCode("cat", code_of(engine, cat)), LabeledCode("cup", code_of(engine, cup))]
        )
        with CameraSupervisor(FakeSource([cat] * 5 + [cup] * 5)) as camera:
            daemon = Daemon(
                camera,
                Pipeline(engine, gallery),
                [TextSink(text), JsonSink(lines), events],
                observers=[
                    lambda seen: current_labels.append(
                        seen.recognition.label if seen.recognition else None
                    )
                ],
            )
            daemon.run()
            summary = daemon.summary()
    sent = [(event.kind, event.label, event.sequence) for event in events.events]
    assert sent == [("enter", "cat", 2), ("leave", "cat", 7), ("enter", "cup", 7)]
    assert [json.loads(line)["label"] for line in lines.getvalue().splitlines()] == [
        "cat",
        "cat",
        "cup",
    ]
    assert "+ cat" in text.getvalue()
    assert current_labels == [None, None, *["cat"] * 5, *["cup"] * 3]
    assert (summary.frames, summary.dropped, summary.events) == (10, 0, 3)
    assert summary.stages["query"]["count"] == 10
    assert summary.stages["end_to_end"]["p50_ms"] >= summary.stages["query"]["p50_ms"]
    assert summary.peak_rss_bytes > 10_000_000


def test_percentiles_use_the_nearest_rank() -> None:
    samples = [float(n) for n in range(1, 101)]
    assert [percentile(samples, p) for p in (0, 1, 50, 90, 99, 100)] == [1, 1, 50, 90, 99, 100]
    assert percentile([7.0], 99) == 7


def test_timings_store_the_latest_samples_in_order() -> None:
    timings = Timings(capacity=3)
    for n in range(5):
        timings.add({"fit": float(n)})
    assert timings.samples_ms("fit") == [2, 3, 4]
    assert timings.summary()["fit"]["count"] == 3
    timer = StageTimer()
    timer.mark("a")
    timer.mark("a")
    assert list(timer.stage_ms) == ["a"]


def test_views_are_the_whole_its_middle_and_its_corners(cat: Image) -> None:
    whole, middle, *corners = views_of(cat)
    assert whole is cat
    assert {view.shape for view in (middle, *corners)} == {(210, 316, 3)}
    assert (corners[0] == cat[:210, :316]).all()
    assert (corners[3] == cat[-210:, -316:]).all()


def test_a_part_of_an_enrolled_photo_is_recognized(
    engine: Engine, tmp_path: Path, cat: Image
) -> None:
    photo = tmp_path / "cat.png"
    cv2.imwrite(str(photo), cat)
    part = cat[5:205, 10:310]
    found = {}
    for views in (False, True):
        with Gallery(tmp_path / f"{views}.sqlite", engine.model, create=True) as gallery:
            outcome = enroll_photos(engine, gallery, [("cat", photo)], EnrollOptions(views=views))
            assert (outcome.pictures_added, outcome.pictures_known) == (1, 0)
            again = enroll_photos(engine, gallery, [("cat", photo)], EnrollOptions(views=views))
            assert (again.pictures_added, again.pictures_known) == (0, 1)
            found[views] = gallery.search(code_of(engine, part), 1)[0].distance
    assert found[True] < found[False]
