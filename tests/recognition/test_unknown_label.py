"""Pictures under the label "unknown": what resembles them is not named, all else stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.code import Embedding, hamming
from edge_runtime.engine import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import EnrollOptions, enroll_image
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.image import Image
from edge_runtime.image.decode import decode_photo
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.recognition.voting import image_verdict
from tests.support.web import encoded

MODEL = FakeEngine().model
FEATURES = 16


def _embedding(seed: int) -> Embedding:
    generator = np.random.default_rng(seed)
    code = generator.integers(0, 2**64, 1, dtype=np.uint64)
    return Embedding(code, generator.standard_normal(FEATURES).astype(np.float32))


def _item(seed: int, label: str, *, features: bool = True) -> LabeledCode:
    made = _embedding(seed)
    assert made.features is not None
    kept = quantize(made.features) if features else None
    return LabeledCode(label, made.code, f"{seed}.jpg", seed.to_bytes(32, "big"), None, kept)


def _labels(gallery: Gallery, query: Embedding) -> list[tuple[str, float]]:
    ranking = gallery.rank(query)
    assert ranking is not None
    return [(one.label, round(one.similarity, 5)) for one in ranking.labels]


@settings(max_examples=40, deadline=None)
@given(
    owners=st.lists(st.sampled_from("abcd"), min_size=2, max_size=12),
    strangers=st.lists(st.integers(100, 999), min_size=1, max_size=5, unique=True),
    query=st.integers(2000, 2050),
)
def test_the_similarities_of_all_other_labels_stay(
    owners: list[str], strangers: list[int], query: int
) -> None:
    with (
        TemporaryDirectory() as folder,
        Gallery(Path(folder, "g.sqlite"), MODEL, create=True) as gallery,
    ):
        gallery.enroll([_item(seed, label) for seed, label in enumerate(owners)])
        before = _labels(gallery, _embedding(query))
        gallery.enroll([_item(seed, UNKNOWN) for seed in strangers])
        after = _labels(gallery, _embedding(query))
        assert [one for one in after if one[0] != UNKNOWN] == before
        # Each picture is judged like a label of its own, whatever else is unknown.
        for seed in strangers:
            assert _labels(gallery, _embedding(seed))[0] == (UNKNOWN, 1.0)
        cosines = []
        probe = _embedding(query).features
        assert probe is not None
        for seed in strangers:
            kept = _item(seed, UNKNOWN).features
            assert kept is not None
            lengths = np.linalg.norm(probe) * np.linalg.norm(kept.astype(np.float32))
            cosines.append(float(kept.astype(np.float32) @ probe / lengths))
        assert dict(after)[UNKNOWN] == pytest.approx(max(cosines), abs=1e-3)


def test_strangers_raise_the_limit_and_are_no_known_thing(tmp_path: Path) -> None:
    with Gallery(tmp_path / "g.sqlite", MODEL, create=True) as gallery:
        gallery.enroll([_item(seed, f"thing {seed // 2}") for seed in range(40)])
        before = gallery.calibration()
        near = _item(1, UNKNOWN)
        assert near.features is not None
        noise = np.random.default_rng(0).integers(-30, 30, FEATURES)
        mixed = np.clip(near.features.astype(int) + noise, -127, 127).astype(np.int8)
        strangers = [
            replace(near, features=np.roll(mixed, shift), digest=bytes([shift]) * 32)
            for shift in range(6)
        ]
        gallery.enroll(strangers)
        after = gallery.calibration()
        assert before is not None
        assert after is not None
        assert after.threshold() > before.threshold()
        assert after.labels == before.labels + 1
        assert after.known_mean == pytest.approx(before.known_mean, abs=0.02)


def test_a_fit_does_not_learn_from_strangers(tmp_path: Path) -> None:
    with Gallery(tmp_path / "g.sqlite", MODEL, create=True) as gallery:
        gallery.enroll([_item(seed, f"thing {seed // 3}") for seed in range(30)])
        before = gallery.refit(dry_run=True)
        gallery.enroll([_item(seed, UNKNOWN) for seed in range(100, 140)])
        assert gallery.refit(dry_run=True) == before
        advice = gallery.advise()
        assert (advice.pictures, advice.labels) == (30, 10)
        assert UNKNOWN not in {one.label for one in advice.few}
        assert UNKNOWN not in {pair.other_label for pair in advice.alike}


def test_a_gallery_of_strangers_names_nothing(tmp_path: Path) -> None:
    with Gallery(tmp_path / "g.sqlite", MODEL, create=True) as gallery:
        gallery.enroll([_item(seed, UNKNOWN) for seed in range(3)])
        assert _labels(gallery, _embedding(1)) == [(UNKNOWN, 1.0)]
        assert gallery.advise().pictures == 0
        assert not gallery.refit(dry_run=True).possible


@pytest.mark.parametrize("features", [True, False])
def test_a_picture_that_got_a_wrong_name_is_not_named_again(
    features: bool, engine: Engine, cat: Image, tmp_path: Path
) -> None:
    """The radius lets everything have a name, as with a much too generous limit."""
    things = {"cat": cat, "tac": cat[::-1], "part": cat[:200, :200]}
    stranger = np.ascontiguousarray(255 - cat[:, ::-1])
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        for label, image in things.items():
            enroll_image(engine, gallery, label, image, EnrollOptions(source=label))
        if not features:
            gallery._connection.execute("DELETE FROM feature")
            gallery._connection.execute("INSERT INTO generation VALUES (99, x'0102030405060708')")
        pipeline = Pipeline(engine, gallery, radius=64)
        assert (pipeline.query(cat).label_similarities is not None) == features
        assert pipeline.query(stranger).label in things
        before = {label: pipeline.query(image).label for label, image in things.items()}
        assert before == {label: label for label in things}
        enroll_image(engine, gallery, UNKNOWN, stranger, EnrollOptions(source="stranger"))
        if not features:
            gallery._connection.execute("DELETE FROM feature")
            gallery._connection.execute("INSERT INTO generation VALUES (199, x'0102030405060708')")
        for again in (stranger, decode_photo(encoded(stranger)), stranger[3:, 5:]):
            verdict = pipeline.query(again).verdict
            assert (verdict.label, verdict.confidence) == (None, 0.0)
            assert pipeline.for_labels(["cat"]).query(again).label is None
        fused = pipeline.query_together([stranger, stranger[3:, 5:]])
        assert fused.verdict.label is None
        assert all(score.label != UNKNOWN for score in fused.label_scores)
        after = {label: pipeline.query(image).label for label, image in things.items()}
        assert after == before


def test_an_equal_code_of_other_labels_does_not_name_it(engine: Engine, tmp_path: Path) -> None:
    """Without features, nothing else tells apart pictures that share a code."""
    with Gallery(tmp_path / "g.sqlite", MODEL, create=True) as gallery:
        crowd = [_item(1, "cat", features=False)] * 3
        gallery.enroll([replace(one, digest=bytes([n]) * 32) for n, one in enumerate(crowd)])
        code = crowd[0].code
        matches = gallery.search(code)
        assert {match.label for match in matches} == {"cat"}
        assert [hamming(code, one.code) for one in crowd] == [0, 0, 0]
        gallery.enroll([_item(1, UNKNOWN, features=False)])
        assert image_verdict(gallery.search(code), 8).label is None
