"""What judges codes without labels, and which photos are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_runtime.code import pack
from training.data.photo_sets import DataError
from training.tests.conftest import photo
from training.unlabelled.evidence import Score, accuracy, agreement, beyond_chance, matching_radius
from training.unlabelled.photos import (
    different_photos,
    hold_out,
    require_different,
    without_judged,
)

IDENTITY = (np.eye(8, dtype=np.float32), np.zeros(8, np.float32))
CONSTANT = (np.zeros((8, 8), np.float32), np.ones(8, np.float32))


def corners() -> np.ndarray:
    """All 256 sign patterns of 8 features."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    return np.where(bits, 1, -1).astype(np.float32)


def test_views_that_keep_their_code_find_their_photo() -> None:
    photos = corners()
    perfect = agreement(IDENTITY, photos, photos)
    assert perfect.figures == {"reciprocal_rank": 100.0, "separation": 100.0}
    blind = agreement(CONSTANT, photos, photos)
    assert blind.figures["separation"] == 50.0 and blind.figures["reciprocal_rank"] < 3
    assert beyond_chance(blind, perfect, 1) and not beyond_chance(perfect, blind, 1)
    assert not beyond_chance(perfect, perfect, 1)


def test_the_reciprocal_rank_counts_ties_in_expectation() -> None:
    photos = np.repeat(corners()[:10], 2, axis=0)  # each code twice
    assert agreement(IDENTITY, photos, photos).figures["reciprocal_rank"] == 75.0


def test_accuracy_is_by_labels() -> None:
    features = corners()
    photos = [photo(f"{i}", "a" if row[0] > 0 else "b") for i, row in enumerate(features)]
    first = (np.eye(8, dtype=np.float32)[:1], np.zeros(1, np.float32))
    assert accuracy(first, (photos, features), (photos, features)).figures["map100"] == 100
    other = (np.eye(8, dtype=np.float32)[1:2], np.zeros(1, np.float32))
    assert accuracy(other, (photos, features), (photos, features)).figures["map100"] < 70


def test_chance_is_not_a_gain() -> None:
    rng = np.random.default_rng(1)
    old = Score(rng.random(200), {})
    noise = Score(np.clip(old.each + rng.normal(0, 0.1, 200), 0, 1), {})
    assert not beyond_chance(old, noise, 1)
    assert beyond_chance(old, Score(np.minimum(old.each + 0.05, 1), {}), 1)


def test_the_radius_has_as_many_pairs_within() -> None:
    codes = pack(corners() > 0)
    assert matching_radius(codes, 2, codes, 8) == 2
    twice = pack(np.repeat(corners() > 0, 2, axis=1))
    assert matching_radius(codes, 2, twice, 16) in (4, 5)  # every distance doubles
    assert matching_radius(codes, 0, codes, 8) == 0


def test_copies_of_a_photo_are_left_out() -> None:
    features = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
    rows = np.concatenate([features[[0, 1, 0, 2]], 2 * features[[1, 3]]])
    assert different_photos(rows).tolist() == [0, 1, 3, 5]
    many = np.repeat(features[:1], 2500, axis=0)
    assert different_photos(many).tolist() == [0]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 3, 3), "set: 3 different photos; 64 bits need 82"),
        ((1, 300, 300), "1 different photo among 300; 64"),
        ((70, 70, 90), "70 different photos, and 20 unreadable; 64"),
        ((81, 90, 95), "81 different photos among 90, and 5 unreadable"),
    ],
)
def test_too_few_different_photos_are_one_line(counts: tuple[int, int, int], words: str) -> None:
    with pytest.raises(DataError) as caught:
        require_different(*counts, 64, Path("set"))
    assert words in str(caught.value) and "add photos" in str(caught.value)


def test_enough_photos_leave_a_run_for_the_judgement() -> None:
    require_different(82, 82, 82, 64, Path("set"))
    fitted, held = hold_out(82, 3)
    assert len(fitted) == 66 and held.tolist() == list(range(held[0], held[0] + 16))
    assert sorted([*fitted, *held]) == list(range(82))


def test_labelled_photos_are_kept_out_of_the_fit(tmp_path: Path) -> None:
    own, judged = photo(str(tmp_path / "a"), ""), photo(str(tmp_path / "b"), "")
    again = photo(str(tmp_path / "c" / ".." / "b"), "cup")
    assert without_judged([own, judged], [again]) == [own]
