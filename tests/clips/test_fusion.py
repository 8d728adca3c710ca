"""The evidence of a clip's frames, added up."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.clips.fusion import CORRELATION, effective_frames, fuse_frames, label_odds
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.gallery.records import UNKNOWN
from edge_runtime.recognition.similarity import similarity_verdict
from edge_runtime.types import LabelSimilarity, Match

CALIBRATION = Calibration(0.5, 0.05, 20, 0.8, 0.1, trust=0.8)
RATE = 0.02


def _label(label: str, similarity: float, distance: int = 9) -> LabelSimilarity:
    return LabelSimilarity(label, similarity, Match(ord(label[0]), label, distance))


def _frame(**similarities: float) -> list[LabelSimilarity]:
    found = [_label(name, value) for name, value in similarities.items()]
    return sorted(found, key=lambda one: (-one.similarity, one.label))


def _unlike(count: int) -> np.ndarray:
    return np.eye(count)


LABELS = st.dictionaries(st.sampled_from("abcdefg"), st.floats(0, 0.97), min_size=1)


@given(LABELS, st.sampled_from([0.0, 0.05]))
def test_one_frame_gives_the_verdict_of_a_single_picture(
    similarities: dict[str, float], drop: float
) -> None:
    frame = _frame(**similarities)
    calibration = replace(CALIBRATION, several_drop=drop, several_between=0.4)
    single = similarity_verdict(frame, calibration, RATE)
    fused = fuse_frames([frame], _unlike(1), calibration, RATE)
    assert fused.verdict.label == single.label
    assert fused.verdict.confidence == pytest.approx(single.confidence, abs=1e-9)
    assert fused.verdict.similarity == single.similarity


@given(LABELS, st.integers(1, 20))
def test_a_picture_that_stands_still_tells_nothing_new(
    similarities: dict[str, float], count: int
) -> None:
    frame = _frame(**similarities)
    single = similarity_verdict(frame, CALIBRATION, RATE)
    still = fuse_frames([frame] * count, np.ones((count, count)), CALIBRATION, RATE)
    assert still.independent == pytest.approx(1)
    assert still.verdict.label == single.label
    assert still.verdict.confidence == pytest.approx(single.confidence, abs=1e-6)


def test_frames_that_agree_make_sure() -> None:
    frame = _frame(cat=0.8, dog=0.78, cow=0.6)
    results = [fuse_frames([frame] * n, _unlike(n), CALIBRATION, RATE) for n in (1, 2, 4, 8)]
    confidences = [each.verdict.confidence for each in results]
    assert all(before < after for before, after in pairwise(confidences))
    assert {each.verdict.label for each in results} == {"cat"}


def test_one_frame_that_disagrees_is_outvoted() -> None:
    agree, other = _frame(cat=0.85, dog=0.7), _frame(dog=0.84, cat=0.75)
    fused = fuse_frames([agree, other, agree], _unlike(3), CALIBRATION, RATE)
    assert fused.verdict.label == "cat"
    assert sum(fused.shares.values()) == pytest.approx(1)


def test_one_frame_cannot_rule_a_label_out() -> None:
    """A frame that shows a passer-by weighs as much as the gallery distrusts a frame."""
    agree, other = _frame(cat=0.85, dog=0.7), _frame(dog=0.97, cat=0.5)
    fused = fuse_frames([agree, other, agree, agree, agree], _unlike(5), CALIBRATION, RATE)
    assert fused.verdict.label == "cat"


def test_more_frames_of_a_stranger_do_not_make_it_known() -> None:
    frame = _frame(cat=CALIBRATION.threshold(RATE) - 0.01, dog=0.5)
    fused = fuse_frames([frame] * 30, _unlike(30), CALIBRATION, RATE)
    assert (fused.verdict.label, fused.verdict.confidence) == (None, 0)


def test_the_limit_falls_as_far_as_the_gallery_shows() -> None:
    measured = replace(CALIBRATION, several_drop=0.04, several_between=0.5)
    limit = measured.threshold(RATE)
    frame = _frame(cat=limit - 0.02, dog=0.5)

    def label(count: int, cosines: np.ndarray, calibration: Calibration = measured) -> str | None:
        return fuse_frames([frame] * count, cosines, calibration, RATE).verdict.label

    assert label(1, _unlike(1)) is None
    assert label(4, np.ones((4, 4))) is None  # a camera at rest
    assert label(4, _unlike(4), CALIBRATION) is None
    assert label(4, _unlike(4)) == "cat"
    lowest = measured.of_mean(1e9).threshold(RATE)
    never = _frame(cat=lowest - 0.001, dog=0.4)
    assert fuse_frames([never] * 40, _unlike(40), measured, RATE).verdict.label is None


def test_what_must_not_be_named_is_unknown() -> None:
    frames = [[*_frame(cat=0.7), _label(UNKNOWN, 0.6)], [_label(UNKNOWN, 0.95), *_frame(cat=0.7)]]
    fused = fuse_frames(frames, _unlike(2), CALIBRATION, RATE)
    assert fused.verdict.label is None


def test_a_single_label_can_be_wrong_too() -> None:
    one = fuse_frames([_frame(cat=0.9)], _unlike(1), CALIBRATION, RATE).verdict.confidence
    four = fuse_frames([_frame(cat=0.9)] * 4, _unlike(4), CALIBRATION, RATE).verdict.confidence
    assert one < four < 1
    odds = label_odds([_frame(cat=0.9)], CALIBRATION)
    assert sum(math.exp(value) for value in odds.values()) == pytest.approx(1)


def test_an_empty_gallery_knows_nothing() -> None:
    fused = fuse_frames([[], []], _unlike(2), CALIBRATION, RATE)
    assert (fused.verdict.label, fused.frames) == (None, 0)


@given(st.integers(1, 40))
def test_the_effective_number_of_frames_is_bounded(count: int) -> None:
    unlike = effective_frames(_unlike(count))
    assert unlike == pytest.approx(count / (1 + (count - 1) * CORRELATION))
    assert effective_frames(np.ones((count, count))) == pytest.approx(1)


def test_two_shots_of_two_scenes_count_as_two() -> None:
    cosines = np.kron(np.eye(2), np.ones((5, 5)))
    assert effective_frames(cosines, correlation=0.0) == pytest.approx(2)
