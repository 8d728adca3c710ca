"""Fusion of several images of the same thing into one result."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.engine import Engine
from edge_runtime.enroll import enroll_photos
from edge_runtime.errors import InputError
from edge_runtime.gallery import Gallery
from edge_runtime.image.decode import read_photo
from edge_runtime.recognition.pipeline import Pipeline, code_of
from edge_runtime.recognition.voting import fused_verdict, image_verdict, label_scores
from edge_runtime.types import Match
from tests.support.photo_sets import shared


def _matches(*neighbors: tuple[str, int], first: int = 1) -> list[Match]:
    return [Match(first + n, label, away) for n, (label, away) in enumerate(neighbors)]


def test_a_sharp_image_outvotes_a_blurred_one() -> None:
    blurred = _matches(("dog", 9), ("dog", 9), ("dog", 9), ("cat", 10))
    sharp = _matches(("cat", 2), ("cat", 3), first=10)
    scores = label_scores([blurred, sharp], 12)
    assert [score.label for score in scores] == ["cat", "dog"]
    assert scores[0].share > 0.9
    assert scores[0].images == 2
    assert scores[0].match.distance == 2


def test_the_methods_vote_and_best_can_disagree() -> None:
    matches = _matches(("dog", 4), ("cat", 5), ("cat", 5), ("cat", 5))
    assert label_scores([matches], 8)[0].label == "cat"
    assert label_scores([matches], 8, "best")[0].label == "dog"


def test_nothing_within_the_radius_is_unknown() -> None:
    images = [_matches(("dog", 14)), [], _matches(("cat", 13))]
    scores = label_scores(images, 12)
    assert scores == ()
    verdict = fused_verdict(images, scores)
    assert (verdict.label, verdict.confidence, verdict.distance) == (None, 0.0, 13)
    assert fused_verdict([], ()).distance is None


def test_a_penalty_counts_like_bits() -> None:
    matches = [Match(1, "far", 3, penalty=6.5), Match(2, "near", 5)]
    assert label_scores([matches], 8)[0].label == "near"
    assert [score.label for score in label_scores([matches], 8)] == ["near"]


def test_only_exact_matches_vote_if_there_are_any() -> None:
    crowd = _matches(("dog", 0), ("cat", 1), ("cat", 1), ("cat", 1), ("cat", 2))
    for method in ("vote", "best"):
        dog, cat = label_scores([crowd], 8, method)
        assert (dog.label, dog.share, dog.images) == ("dog", 1.0, 1)
        assert (cat.label, cat.share, cat.images) == ("cat", 0.0, 1)
    assert label_scores([crowd[1:], crowd[1:], crowd], 8)[0].label == "dog"
    assert image_verdict(_matches(("dog", 0), ("cat", 0), ("cat", 0)), 8).label == "cat"
    elsewhere = [Match(1, "dog", 0, penalty=0.5), *(Match(n, "cat", 1) for n in range(2, 6))]
    assert image_verdict(elsewhere, 8).label == "cat"


def test_an_enrolled_photo_is_answered_with_its_label(engine: Engine, tmp_path: Path) -> None:
    """Photos under new labels, among similar photos.

    When each code had a vote, similar photos outvoted 5 of 17. Two more photos have the code of
    another photo, and no vote can tell these apart.
    """
    folders = [
        shared("tiny") / name
        for name in (
            "grocery/Green-Bell-Pepper",
            "grocery/Lime",
            "places/ie_b0_mainentrance_north_c037",
        )
    ]
    with Gallery(tmp_path / "g.sqlite", engine.model, create=True) as gallery:
        enrolled = [
            (folder.name, photo)
            for folder in folders
            for photo in sorted(folder.glob("train_*"))[:6]
        ]
        enroll_photos(engine, gallery, enrolled)
        photos = [photo for folder in folders for photo in sorted(folder.glob("test_*"))]
        new = {f"{photo.parent.name} {photo.stem}": photo for photo in photos}
        enroll_photos(engine, gallery, new.items())
        pipeline = Pipeline(engine, gallery)
        answers = {}
        for label, photo in new.items():
            image = read_photo(photo)
            exact = {match.label for match in gallery.within(code_of(engine, image), 0)}
            answer = pipeline.query(image).label
            assert answer in exact
            if exact == {label}:
                answers[label] = answer
    assert len(answers) >= 15
    assert list(answers) == list(answers.values())


def test_unknown_methods_are_rejected() -> None:
    with pytest.raises(InputError, match="choose from vote, best"):
        label_scores([], 3, "loudest")  # type: ignore[arg-type]


neighbors = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=6)


@given(st.lists(neighbors, max_size=4), st.integers(0, 20))
def test_shares_sum_to_one_and_one_image_is_the_plain_vote(
    drawn: list[list[tuple[str, int]]], radius: int
) -> None:
    neighbor_lists = [
        _matches(*sorted(matches, key=lambda pair: pair[1]), first=10 * n)
        for n, matches in enumerate(drawn)
    ]
    ranked = label_scores(neighbor_lists, radius)
    if ranked:
        assert sum(score.share for score in ranked) == pytest.approx(1)
        assert ranked[0].share == max(score.share for score in ranked)
        best = label_scores(neighbor_lists, radius, "best")[0]
        assert best.match.distance == min(m.distance for matches in neighbor_lists for m in matches)
    for matches in neighbor_lists:
        verdict = image_verdict(matches, radius)
        assert verdict == fused_verdict([matches], label_scores([matches], radius))
