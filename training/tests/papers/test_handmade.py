"""The hand-made systems: every part against a brute-force model, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edge_runtime.code import hamming, pack, unpack
from training.commands.papers.handmade import main
from training.papers.handmade.boundary import central_distance, likeness, outline
from training.papers.handmade.gallery import MATCHES, furthest_match
from training.papers.handmade.geometry import agreement
from training.papers.handmade.hash_bits import fit_bits
from training.papers.handmade.local_features import STEPS, local_features, root
from training.papers.handmade.saliency import at, saliency
from training.papers.handmade.tables import HashTables
from training.papers.handmade.voting import match, votes
from training.papers.rows import read_table
from training.tests.conftest import draw_photos

Bits = NDArray[np.bool_]


def _codes(rng: np.random.Generator, count: int, bits: int) -> Bits:
    """Codes in clusters, so that many are near each other."""
    centers = rng.random((4, bits)) < 0.5
    return centers[rng.integers(0, 4, count)] ^ (rng.random((count, bits)) < 0.08)


@pytest.mark.parametrize("seed", range(12))
def test_a_lookup_equals_a_linear_scan_of_the_bits_of_each_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits, radius = int(rng.integers(12, 90)), int(rng.integers(0, 3))
    stored, asked = _codes(rng, int(rng.integers(1, 60)), bits), _codes(rng, 7, bits)
    tables = HashTables(pack(stored), bits, int(rng.integers(1, 5)), 10, seed)
    found = set(zip(*(each.tolist() for each in tables.lookup(pack(asked), radius)), strict=True))
    expected = {
        (q, s)
        for q in range(len(asked))
        for s in range(len(stored))
        if min(int((asked[q, c] != stored[s, c]).sum()) for c in tables.chosen) <= radius
    }
    assert found == expected
    distance = hamming(pack(asked)[:, None], pack(stored)[None])
    assert (
        set(zip(*(each.tolist() for each in np.nonzero(distance <= radius)), strict=True)) <= found
    )


@pytest.mark.parametrize("seed", range(8))
def test_matches_are_the_nearest_pairs_of_each_photo(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stored, asked = _codes(rng, 40, 30), _codes(rng, 9, 30)
    photo_of = np.sort(rng.integers(0, 5, 40))
    tables = HashTables(pack(stored), 30, 2, 8, seed)
    found = match(tables, pack(stored), photo_of, pack(asked), 8, 6)  # radius 8: all are looked up
    pairs = sorted((int((asked[q] != stored[s]).sum()), q, s) for q in range(9) for s in range(40))
    expected = set()
    for photo in range(5):
        own = [pair for pair in pairs if photo_of[pair[2]] == photo and pair[0] <= 6]
        nearest: dict[int, tuple[int, int, int]] = {}
        for pair in own:
            nearest.setdefault(pair[1], pair)
        taken: dict[int, tuple[int, int, int]] = {}
        for pair in sorted(nearest.values()):
            taken.setdefault(pair[2], pair)
        expected |= set(taken.values())
    assert set(zip(found.distance.tolist(), found.query.tolist(), found.stored.tolist(),
                   strict=True)) == expected  # fmt: skip
    counted = votes(found, np.ones(len(found.query), np.float32), 5)
    assert counted.tolist() == [sum(photo_of[s] == p for _, _, s in expected) for p in range(5)]
    assert [len(found.of_photo(p).query) for p in range(5)] == counted.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_limit_of_a_match_follows_the_number_of_stored_features(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, photo_of = _codes(rng, 90, 40), np.arange(90) // 3
    limit = furthest_match(pack(values), photo_of, 40, seed)
    distance = (values[:, None] != values[None]).sum(2)
    others = photo_of[:, None] != photo_of[None]
    counts = [((distance <= d) & others).sum() / 90 for d in (limit, limit + 1)]
    assert (counts[0] <= MATCHES or limit == 0) and counts[1] > MATCHES


def test_bits_are_balanced_and_keep_neighbors_together() -> None:
    rng = np.random.default_rng(5)
    centers = rng.standard_normal((60, 20)).astype(np.float32)
    rows = np.repeat(centers, 8, 0) + 0.1 * rng.standard_normal((480, 20)).astype(np.float32)
    weight, bias = fit_bits(rows, 16, 1)
    values = rows @ weight.T + bias > 0
    assert np.abs(values.mean(0) - 0.5).max() < 0.02
    distance = hamming(pack(values)[:, None], pack(values)[None])
    same = np.arange(480)[:, None] // 8 == np.arange(480)[None] // 8
    assert distance[same].mean() < 0.35 * distance[~same].mean()
    again = fit_bits(rows, 16, 1)
    assert np.array_equal(again[0], weight) and np.array_equal(again[1], bias)
    assert not np.array_equal(fit_bits(rows, 16, 2)[0], weight)


@pytest.mark.parametrize("seed", range(6))
def test_geometry_counts_the_features_that_moved_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = rng.random((30, 2)).astype(np.float32)
    angles = (360 * rng.random(30)).astype(np.float32)
    turn, scale = 2 * np.pi * rng.random(), 0.5 + rng.random()
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = (places @ matrix.T + rng.random(2)).astype(np.float32)
    moved_angles = (angles + np.degrees(turn)).astype(np.float32) % 360
    assert agreement((places, angles), (moved, moved_angles)) > 28
    false = rng.permutation(30)
    wrong = agreement((places, angles), (moved[false], moved_angles[false]))
    assert wrong < 15
    part = np.where(np.arange(30) < 18, np.arange(30), false)
    some = agreement((places, angles), (moved[part], moved_angles[part]))
    assert wrong < some < 29
    assert agreement((places[:1], angles[:1]), (moved[:1], moved_angles[:1])) == 0


def test_the_boundary_feature_ignores_place_size_turn_and_start() -> None:
    steps = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 1 + 0.3 * np.cos(3 * steps) + 0.1 * np.sin(7 * steps)
    shape = np.stack([radius * np.cos(steps), radius * np.sin(steps)], 1)
    feature = central_distance(shape)
    matrix = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    other = central_distance(np.roll(40 * shape @ matrix.T + 17, 111, axis=0))
    assert np.abs(other - feature).max() <= 2 / 255
    circle = central_distance(np.stack([np.cos(steps), np.sin(steps)], 1))
    assert circle[0] == pytest.approx(1, abs=0.01) and circle[1:].max() < 0.01
    near = likeness(feature, np.stack([other, circle]))
    assert near[0] > 0.9 > near[1]
    assert not central_distance(shape[:2]).any() and not central_distance(np.ones((9, 2))).any()


def _disc() -> NDArray[np.uint8]:
    image = np.full((120, 160, 3), (200, 180, 170), np.uint8)
    noise = np.random.default_rng(1).integers(0, 6, image.shape)
    cv2.circle(image, (90, 60), 28, (20, 30, 200), -1)
    return (image + noise).astype(np.uint8)


def test_the_outline_surrounds_the_object_and_saliency_marks_it() -> None:
    points = outline(_disc()) * 160 / 64
    radius = np.linalg.norm(points - (90, 60), axis=1)
    assert len(points) > 20 and 20 < radius.mean() < 36
    salient = saliency(_disc())
    assert salient.shape == (120, 160) and salient.min() >= 0 and salient.max() == 1
    assert salient[32:88, 62:118].mean() > 2 * salient[:, :40].mean()
    values = at(salient, np.array([[90 / 160, 60 / 160], [0, 0], [1, 1]], np.float32))
    assert values[0] == salient[60, 90] and values[1] == salient[0, 0]


def test_a_flat_photo_has_no_features_and_no_outline() -> None:
    flat = np.full((60, 80, 3), 90, np.uint8)
    assert len(local_features(flat)) == 0 and not saliency(flat).any()
    assert not central_distance(outline(flat)).any()


def test_local_features_are_sorted_and_in_steps() -> None:
    rng = np.random.default_rng(2)
    image = cv2.resize(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), (640, 480))
    found = local_features(np.asarray(image, np.uint8), 50)
    assert len(found) == 50 and found.descriptors.shape == (50, 128)
    steps = found.places * STEPS
    assert np.abs(steps - np.rint(steps)).max() < 1e-3 and 0 <= steps.min() <= steps.max() <= 255
    assert np.allclose(np.linalg.norm(root(found.descriptors), axis=1), 1, atol=1e-5)
    assert np.array_equal(unpack(pack(found.descriptors > 9), 128), found.descriptors > 9)


def test_the_command_writes_a_table_and_resumes(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", labels=4, each=6)
    arguments = [
        "--data",
        str(tmp_path / "photos"),
        "--seeds",
        "1",
        "--results",
        str(tmp_path / "out"),
    ]
    first = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    table = read_table(tmp_path / "out" / "handmade.json")
    assert {row.system for row in table.rows} == {"VHB", "SSFS", "global features"}
    assert [row.published for row in table.rows if row.published] == [19.36, 20.22]
    runs = tmp_path / "build" / "papers" / "handmade" / "runs.jsonl"
    before = runs.read_text()
    assert len(before.splitlines()) == 2
    again = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert again.exit_code == 0 and runs.read_text() == before
    stored = json.loads((tmp_path / "out" / "handmade.json").read_text())
    assert [row["values"] for row in stored["rows"]] == [list(row.values) for row in table.rows]
