"""Clips as queries: the command in its tiny form, its resumption, and its figures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_runtime.fitting.calibration import Calibration
from training.__main__ import main
from training.papers.clips.figures import Evidence, label_loss, outcome, part_of, shares, windows
from training.papers.clips.sounds import Recording, mixed
from training.papers.rows import read_table
from training.tests.conftest import draw_photos
from training.tests.papers.conftest import write_recordings

CALIBRATION = Calibration(0.5, 0.05, 20, 0.8, 0.1, trust=0.8)
RECORD = {
    "place": "a",
    "own": [[["a", 0.9, 3], ["b", 0.5, 9]], [["b", 0.7, 4], ["a", 0.69, 4]], [["a", 0.8, 2]]],
    "without": [[["b", 0.5, 9]], [["b", 0.7, 4]], [["b", 0.4, 9]]],
    "cosines": np.eye(3).tolist(),
}


def _walks(folder: Path) -> Path:
    """Write a set of walks: of each, the middle is queried."""
    draw_photos(folder, labels=3, each=7)
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "seq", "split"])
        for path in sorted(folder.glob("*/*.png")):
            number = int(path.stem)
            split = "query" if 2 <= number < 5 else "gallery"
            rows.writerow([path.relative_to(folder), path.parent.name, number, split])
    return folder


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_the_tiny_form_runs_and_continues(tmp_path: Path) -> None:
    data, sounds = _walks(tmp_path / "walks"), write_recordings(tmp_path / "sounds", 6)
    command = ["papers", "clips", "--data", str(data), "--sounds", str(sounds), "--tiny"]
    command += ["--out", str(tmp_path / "out"), "--results", str(tmp_path)]
    first = CliRunner().invoke(main, command, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    table = read_table(tmp_path / "clips.json")
    systems = {row.system for row in table.rows}
    assert systems == {
        *("clip, frames fused", "limit for strangers", "correlation of frames"),
        "sound beside the picture",
        "compass heading (simulated)",
    }
    heard = [row for row in table.rows if row.system == "sound beside the picture"]
    assert [row.setting for row in heard] == ["no noise", "white noise, 0 dB"]
    assert heard[0].values[0] == 100
    assert all(row.extra["false_matches_of_foreign"] == 0 for row in heard)
    for row in table.rows:
        if row.measure == "right (%)":
            parts = [row.extra[f"{name}_percent"] for name in ("unknown", "wrong")]
            assert row.values[0] + sum(map(float, parts)) == pytest.approx(100, abs=0.01)
    assert not list((tmp_path / "out").glob("heading*"))  # copies of galleries are removed
    done = tmp_path / "out" / "done.jsonl"
    lines = done.read_bytes().splitlines(keepends=True)
    done.write_bytes(b"".join(lines[:4]) + lines[4][:10])  # killed while it wrote
    before = (tmp_path / "clips.json").read_bytes()
    again = CliRunner().invoke(main, command, catch_exceptions=False)
    assert again.exit_code == 0, again.output
    assert (tmp_path / "clips.json").read_bytes() == before
    assert sorted(map(_key, done.read_bytes().splitlines())) == sorted(map(_key, lines))


def _key(line: bytes) -> str:
    return json.dumps(json.loads(line)["key"])


def test_a_set_without_queries_is_refused(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    done = CliRunner().invoke(main, ["papers", "clips", "--data", str(tmp_path / "set")])
    assert done.exit_code != 0
    assert "no query photos" in done.output


def test_windows_are_runs_of_frames() -> None:
    assert [len(windows([RECORD], "own", count)) for count in (1, 2, 3, 4)] == [3, 2, 1, 0]
    second = windows([RECORD], "own", 2)[1]
    assert [frame[0].label for frame in second.frames] == ["b", "a"]
    assert second.cosines.shape == (2, 2)


def test_the_progressive_answer_stops_when_it_is_sure() -> None:
    whole = part_of(RECORD, "own", 0, 3)
    early, late = (outcome(whole, CALIBRATION, sure=sure) for sure in (0.5, 1.0))
    assert (early.label, early.frames) == ("a", 1)
    assert (late.label, late.frames, late.nearest) == ("a", 3, "a")
    assert outcome(part_of(RECORD, "without", 0, 3), CALIBRATION).label is None


def test_figures_add_up() -> None:
    found = [outcome(each, CALIBRATION) for each in windows([RECORD], "own", 1)]
    figures = shares(found, ["a", "a", "a"])
    assert figures["best_label_right_percent"] == pytest.approx(200 / 3)
    total = figures["right"] + figures["unknown_percent"] + figures["wrong_percent"]
    assert total == pytest.approx(100)


def test_the_loss_punishes_confidence_in_the_wrong_label() -> None:
    whole = part_of(RECORD, "own", 0, 3)
    wrong = Evidence("b", whole.frames, whole.cosines)
    assert label_loss(wrong, CALIBRATION, 0.5) > label_loss(whole, CALIBRATION, 0.5)


@pytest.mark.parametrize("noise", ["white", "babble"])
def test_noise_has_the_stated_level(noise: str) -> None:
    rng = np.random.default_rng(1)
    clean, *others = (
        Recording(str(seed), 0.1 * rng.normal(size=9000).astype(np.float32)) for seed in range(5)
    )
    both = mixed(clean, noise, 6.0, others, seed=1)  # type: ignore[arg-type]
    added = both - clean.samples
    ratio = 10 * np.log10((clean.samples**2).mean() / (added**2).mean())
    assert ratio == pytest.approx(6, abs=0.1)
    assert mixed(clean, "none", 6.0, others, seed=1) is clean.samples
