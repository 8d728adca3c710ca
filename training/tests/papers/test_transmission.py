"""The ways to send a query: sizes, what arrives, and the command with its plot."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training.commands.papers.transmission import main
from training.papers.handmade.local_features import LocalFeatures
from training.papers.judging import figures
from training.papers.rows import read_table
from training.papers.transmission.product_quantizer import ProductQuantizer
from training.papers.transmission.study import chosen_queries
from training.papers.transmission.ways import COUNTS, global_queries, local_queries, progressive
from training.tests.conftest import ROOT, draw_photos, photo


def test_a_quantizer_sends_the_nearest_center_of_each_part() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((900, 12)).astype(np.float32)
    quantizer = ProductQuantizer(rows, 4, 1)
    codes = quantizer.encode(rows[:50])
    assert codes.shape == (50, 4) and codes.dtype == np.uint8
    received = quantizer.decode(codes)
    for row in range(50):
        for part in range(4):
            place = slice(3 * part, 3 * part + 3)
            every = ((quantizer.books[part] - rows[row, place]) ** 2).sum(1)
            assert np.array_equal(received[row, place], quantizer.books[part][every.argmin()])
    assert ((received - rows[:50]) ** 2).mean() < 0.1 * rows.var()


@pytest.mark.parametrize("seed", range(6))
def test_progressive_sending_stops_at_the_first_step_with_the_lead(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stored, labels = rng.random((30, 64)) < 0.5, rng.integers(0, 5, 30)
    asked = stored[:8] ^ (rng.random((8, 64)) < 0.2)
    size, scores = progressive(asked, stored, labels, 6)
    sizes = []
    for query, found in zip(asked, scores, strict=True):
        for sent in (16, 32, 48, 64):
            near = [int((query[:sent] != each[:sent]).sum()) for each in stored]
            best = min(near)
            nearest = labels[near.index(best)]
            rest = [d for d, label in zip(near, labels, strict=True) if label != nearest]
            own = [d for d, label in zip(near, labels, strict=True) if label == nearest]
            if min(rest) - min(own) >= 6:
                break
        sizes.append(sent / 8)
        assert (-found).tolist() == near
    assert size == np.mean(sizes)
    assert progressive(asked, stored, labels, 0)[0] == 2
    assert progressive(asked, stored, labels, 65)[0] == 8


def test_global_features_rank_almost_alike_as_bytes() -> None:
    rng = np.random.default_rng(4)
    stored = rng.random((40, 300)).astype(np.float32)
    asked = (stored[:9] + 0.02 * rng.random((9, 300))).astype(np.float32)
    found = {each.setting: each for each in global_queries(stored, asked)}
    assert found["300 float32"].bytes == 1200 and found["300 int8"].bytes == 300
    assert "256 principal components, int8" not in found  # more than photos
    for each in found.values():
        assert each.scores.argmax(1).tolist() == list(range(9))
    assert np.allclose(found["300 int8"].scores, found["300 float32"].scores, atol=0.01)


def test_local_features_are_recognized_in_every_form_they_are_sent_in() -> None:
    rng = np.random.default_rng(5)
    photos = [
        LocalFeatures(
            rng.random((40, 2), np.float32), rng.random(40, np.float32),
            rng.random(40, np.float32), rng.gamma(0.5, 30, (40, 128)).clip(0, 255).astype(np.uint8),
        )
        for _ in range(30)
    ]  # fmt: skip
    queries = [photos[number].rows(slice(5, 25)) for number in (3, 17)]
    sent = list(local_queries(photos, queries, 1))
    assert len(sent) == 4 * len(COUNTS)
    for each in sent:
        assert each.scores.argmax(1).tolist() == [3, 17], (each.way, each.setting)
    sizes = {each.way: each.bytes for each in sent if each.setting == "15 features"}
    assert sizes["raw SIFT"] == 15 * 128 and sizes["SIFT by product quantization"] == 15 * 16
    assert 0 < sizes["SIFT of 4 levels, entropy-coded"] < 15 * 40


def test_figures_are_those_of_a_plain_ranking() -> None:
    database = [photo(f"{i}", "ab"[i % 2]) for i in range(6)]
    scores = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]], np.float32)
    queries = [photo("x", "a"), photo("y", "a")]
    map100, first = figures(scores, database, queries)
    assert first == 50.0
    assert map100 == pytest.approx(
        100 * ((1 + 2 / 3 + 3 / 5) / 3 + (1 / 2 + 2 / 4 + 3 / 6) / 3) / 2
    )


def test_the_same_queries_are_chosen_again() -> None:
    assert chosen_queries(50, 9).tolist() == chosen_queries(50, 9).tolist()
    assert len(set(chosen_queries(50, 9).tolist())) == 9 and len(chosen_queries(5, 9)) == 5


def test_the_command_writes_a_table_and_a_plot_and_resumes(tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos", labels=4, each=6)
    arguments = [
        "--data", str(tmp_path / "photos"), "--seeds", "1", "--queries", "3",
        "--model", str(ROOT / "models" / "mobilenet_v1_general.onnx"),
        "--results", str(tmp_path / "out"), "--images", str(tmp_path / "images"),
    ]  # fmt: skip
    first = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    table = read_table(tmp_path / "out" / "transmission.json")
    sizes = {row.setting.split(", ", 1)[1]: row.extra["bytes_per_query"] for row in table.rows}
    assert sizes["1024 float32"] == 4096 and sizes["64 bits"] == 8
    picture = tmp_path / "images" / "transmission.svg"
    ElementTree.parse(picture)
    before, runs = picture.read_bytes(), Path("build/papers/handmade/transmission.jsonl")
    lines = runs.read_text()
    assert len(lines.splitlines()) == 4
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    assert picture.read_bytes() == before and runs.read_text() == lines
