"""The decision from the similarity of labels, for one image and for several."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edge_runtime.fitting.calibration import Calibration
from edge_runtime.recognition.similarity import (
    fuse_similarities,
    similarity_scores,
    similarity_verdict,
)
from edge_runtime.recognition.voting import FusionMethod
from edge_runtime.types import LabelSimilarity, Match

CALIBRATION = Calibration(0.5, 0.05, 20, 0.8, 0.1)
RATE = 0.02
THRESHOLD = CALIBRATION.threshold(RATE)


def _label(label: str, similarity: float, distance: int = 9) -> LabelSimilarity:
    return LabelSimilarity(label, similarity, Match(ord(label[0]), label, distance))


def test_a_label_above_the_threshold_is_the_answer() -> None:
    verdict = similarity_verdict([_label("cat", 0.9), _label("dog", 0.6, 3)], CALIBRATION, RATE)
    assert (verdict.label, verdict.distance, verdict.similarity) == ("cat", 9, 0.9)
    known = CALIBRATION.known_probability(0.9)
    assert verdict.confidence == pytest.approx(CALIBRATION.trust * known, abs=1e-3)


def test_the_confidence_follows_the_share_of_answers_that_are_right() -> None:
    labels = [_label("cat", 0.9), _label("dog", 0.5)]
    sure, doubtful = (
        similarity_verdict(labels, replace(CALIBRATION, trust=trust), RATE) for trust in (0.9, 0.6)
    )
    assert doubtful.confidence == pytest.approx(sure.confidence * 0.6 / 0.9)
    assert doubtful.label == sure.label == "cat"


def test_an_enrolled_picture_is_trusted() -> None:
    doubtful = replace(CALIBRATION, trust=0.5)
    verdict = similarity_verdict([_label("cat", 1.0, 0), _label("dog", 0.5)], doubtful, RATE)
    assert verdict.confidence > 0.99


def test_the_threshold_is_the_limit() -> None:
    assert similarity_verdict([_label("cat", THRESHOLD)], CALIBRATION, RATE).label == "cat"
    below = [_label("cat", THRESHOLD - 0.001), _label("dog", 0.4, 3)]
    verdict = similarity_verdict(below, CALIBRATION, RATE)
    assert (verdict.label, verdict.confidence, verdict.distance) == (None, 0, 3)
    assert verdict.similarity == pytest.approx(THRESHOLD - 0.001, abs=1e-4)
    assert similarity_verdict(below, CALIBRATION, 0.1).label == "cat"


def test_two_labels_that_are_equally_similar_share_the_confidence() -> None:
    alone = similarity_verdict([_label("cat", 0.9)], CALIBRATION, RATE)
    both = similarity_verdict([_label("cat", 0.9), _label("dog", 0.9)], CALIBRATION, RATE)
    assert both.confidence == pytest.approx(alone.confidence / 2)


def test_a_radius_replaces_the_limit() -> None:
    unlike = [_label("cat", 0.1, 9)]
    assert similarity_verdict(unlike, CALIBRATION, RATE, radius=9).label == "cat"
    alike = [_label("cat", 0.99, 9)]
    assert similarity_verdict(alike, CALIBRATION, RATE, radius=8).label is None


def test_an_empty_gallery_knows_nothing() -> None:
    verdict = similarity_verdict([], CALIBRATION, RATE)
    assert (verdict.label, verdict.confidence, verdict.distance) == (None, 0, None)
    assert similarity_scores([], [], CALIBRATION) == ()
    assert fuse_similarities([], "vote") == ([], [])


def test_scores_are_shares() -> None:
    scores = similarity_scores([_label("cat", 0.9), _label("dog", 0.88)], [2, 1], CALIBRATION)
    assert [score.label for score in scores] == ["cat", "dog"]
    assert sum(score.share for score in scores) == pytest.approx(1)
    odds = math.exp(0.02 / CALIBRATION.temperature)
    assert scores[0].share / scores[1].share == pytest.approx(odds)


IMAGES = [
    [_label("cat", 0.9), _label("dog", 0.7), _label("owl", 0.3)],
    [_label("dog", 0.8), _label("cat", 0.5)],
]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("vote", {"dog": 0.75, "cat": 0.7, "owl": 0.4}),  # the owl counts with 0.5 in the second
        ("best", {"cat": 0.9, "dog": 0.8, "owl": 0.3}),
    ],
)
def test_several_images(method: FusionMethod, expected: dict[str, float]) -> None:
    fused, images = fuse_similarities(IMAGES, method)
    assert [one.label for one in fused] == list(expected)
    assert [one.similarity for one in fused] == pytest.approx(list(expected.values()))
    assert dict(zip(expected, images, strict=True)) == {"cat": 2, "dog": 2, "owl": 1}


@pytest.mark.parametrize("method", ["vote", "best"])
def test_an_enrolled_picture_settles_it(method: FusionMethod) -> None:
    images = [
        [_label("owl", 1, 0), _label("cat", 0.9)],
        [_label("cat", 0.95), _label("owl", 0.2)],
    ]
    fused, _ = fuse_similarities(images, method)
    assert (fused[0].label, fused[0].similarity, fused[0].match.distance) == ("owl", 1, 0)
    assert fuse_similarities(images[::-1], method)[0] == fused


def test_one_image_is_fused_unchanged() -> None:
    assert fuse_similarities(IMAGES[:1], "vote") == (IMAGES[0], [1, 1, 1])
