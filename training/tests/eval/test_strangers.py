"""New objects, enrolled and queried through the runtime, and strangers."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_runtime import Recognizer
from edge_runtime.code import Embedding
from edge_runtime.engine import Engine
from edge_runtime.engine.fake import FakeEngine
from edge_runtime.enroll import enroll_photos
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.features.search import CANDIDATES
from edge_runtime.image import Image
from edge_runtime.image.decode import read_photo
from edge_runtime.image.preprocess import preprocess, views_of
from edge_runtime.model import identify
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.system.stage_timer import NO_TIMER, StageTimer
from edge_runtime.types import Match, QueryResult, Verdict
from training.commands import strangers as command
from training.data.photo_sets import read_set
from training.eval import strangers
from training.eval.caching_engine import CachingEngine
from training.eval.photo_pool import Pool
from training.eval.strangers import ALL, FIGURES, Protocol, judge, judge_sets, nearness
from training.reports.strangers import new_objects
from training.tests.conftest import ROOT, draw_photos

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"
SHORT = Protocol(labels=(2, ALL), photos=(1, 3), draws=3, left_out=2)


class CountingEngine(FakeEngine):
    """Counts the runs of the network."""

    runs = 0

    def embed(self, image: Image, timer: StageTimer = NO_TIMER) -> Embedding:
        self.runs += 1
        return super().embed(image, timer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_photos(tmp_path / "set", labels=4, each=5)
    return tmp_path / "set"


def _run(*options: object) -> Result:
    given = ["--model", MODEL, *options]
    return CliRunner().invoke(command.main, [str(each) for each in given])


def _judged(folder: Path, protocol: Protocol = SHORT, **options: Any) -> list[dict[str, Any]]:
    engine = CachingEngine(FakeEngine())
    rows: list[dict[str, Any]] = judge_sets(engine, [folder], None, protocol, **options)["rows"]
    return rows


def test_command_writes_the_result_and_a_table(folder: Path) -> None:
    done = _run("--data", folder, "--photos", "1,3", "--labels", "2,all", "--draws", 2,
                "--note", "drawn", "--out", "out.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(Path("out.json").read_text())
    assert (result["set"], result["all_photos"], result["all_labels"]) == ("set", 20, 4)
    assert result["note"] == "drawn" and result["model"] == "mobilenet_v1_hash64"
    assert [(row["photos"], row["labels"]) for row in result["rows"]] == [
        (1, 2), (1, 4), (3, 2), (3, 4),
    ]  # fmt: skip
    for row in result["rows"]:
        assert row["queries"] == 2 * row["labels"] * (5 - row["photos"])
        for name in FIGURES:
            found = row[name]
            assert 0 <= found["lowest"] <= found["median"] <= found["highest"] <= 100
    assert "strangers named" in done.output and done.output.count("(") >= len(FIGURES)


def test_galleries_hold_what_the_protocol_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, tuple[int, int]]] = []

    def record(engine: Engine, gallery: Gallery) -> None:
        counts = gallery.label_counts().items()
        seen.append({label: (each.pictures, each.codes) for label, each in counts})

    monkeypatch.setattr(strangers, "fit_to_gallery", record)
    rows = _judged(folder, Protocol(labels=(2, ALL), photos=(3,), draws=2, left_out=2))
    assert all(set(held.values()) == {(3, 18)} for held in seen)
    # Per draw: two labels; then all four, and two times all but one.
    assert [len(held) for held in seen] == [2, 2, 4, 3, 3, 4, 3, 3]
    left_out = Counter(label for held in seen if len(held) == 3 for label in seen[2].keys() - held)
    assert left_out == dict.fromkeys(seen[2], 1)  # the second draw takes the next
    assert [row["strangers"] for row in rows] == [2 * 2 * 5, 2 * 2 * 5]


def test_answers_are_those_of_the_public_interface(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recognizer with default settings, on a copy of the gallery, gives the same figures."""
    for path in sorted((folder / "label3").iterdir())[2:]:
        shutil.copy(path, folder / "label2" / f"copy-{path.name}")  # so that some answers are wrong

    def keep(engine: Engine, gallery: Gallery) -> None:
        gallery.checkpoint()
        shutil.copy(gallery.path, tmp_path / "copy.sqlite")

    monkeypatch.setattr(strangers, "fit_to_gallery", keep)
    engine = FakeEngine()
    protocol = Protocol(labels=(3,), photos=(2,), draws=1)
    (row,) = judge_sets(engine, [folder], None, protocol)["rows"]
    answers: Counter[str] = Counter()
    with Recognizer(tmp_path / "copy.sqlite", engine=engine) as recognizer:
        enrolled = recognizer.labels()
        for photo in read_set(folder):
            image = read_photo(photo.path)
            if recognizer.gallery.known(photo.label, hashlib.sha256(image.tobytes()).digest()):
                continue
            label = recognizer.query(photo.path).label
            if photo.label not in enrolled:
                answers["named" if label else "ignored"] += 1
            else:
                known = "right" if label == photo.label else "wrong"
                answers[known if label else "unknown"] += 1
    queries = answers["right"] + answers["wrong"] + answers["unknown"]
    assert (row["queries"], row["strangers"]) == (queries, answers["named"] + answers["ignored"])
    for name in ("right", "wrong", "unknown"):
        assert row[name]["median"] == pytest.approx(100 * answers[name] / queries, abs=1e-3)
    assert row["named"]["median"] == pytest.approx(
        100 * answers["named"] / row["strangers"], abs=1e-3
    )
    assert answers["right"] and answers["wrong"] + answers["unknown"] + answers["named"]


def test_clear_objects_are_right_and_copies_of_them_are_named(folder: Path) -> None:
    twice = Protocol(labels=(ALL,), photos=(2,), draws=2)
    once = replace(twice, second_look=False)
    engine = CachingEngine(FakeEngine())
    (row,) = judge_sets(engine, [folder], None, twice)["rows"]
    assert row["right"]["lowest"] == row["precision1"]["lowest"] == row["map100"]["lowest"] == 100
    assert row["unknown"]["highest"] == row["wrong"]["highest"] == 0
    (single,) = judge_sets(engine, [folder], None, once)["rows"]
    assert 0 < single["right"]["lowest"] < 100  # the second look finds the rest
    # Strangers are less similar than any query, but three labels say little about the limit.
    assert row["named"]["highest"] < 100 and single["auroc"]["lowest"] > 0.5
    shutil.copytree(folder, "copies")
    (row,) = judge_sets(engine, [folder], Path("copies"), twice)["rows"]
    assert row["named"]["lowest"] == 100 and row["strangers"] == 2 * 20
    (row,) = judge_sets(engine, [folder], Path("copies"), once)["rows"]
    assert row["auroc"]["highest"] < 0.5  # copies of enrolled photos are nearest of all


def test_labels_that_look_alike_are_wrong_and_unlike_ones_unknown(folder: Path) -> None:
    for label, index in (("label0", 0), ("label1", 1)):
        rng = np.random.default_rng(index)
        for path in sorted((folder / label).iterdir()):
            cv2.imwrite(str(path), rng.integers(0, 256, (64, 80, 3), dtype=np.uint8))
    row = _judged(folder, Protocol(labels=(ALL,), photos=(2,), draws=1))[0]
    # Photos of noise share nothing: the queries of these two labels are unknown.
    assert row["unknown"]["median"] == 50 and row["right"]["median"] == 50
    for path in sorted((folder / "label2").iterdir()):
        shutil.copy(folder / "label3" / path.name, path)
    row = _judged(folder, Protocol(labels=(ALL,), photos=(2,), draws=1))[0]
    # Labels that resemble each other raise the limit, so some of their queries may be unknown.
    assert row["unknown"]["median"] >= 50 and row["wrong"]["median"] > 0


def test_score_is_the_similarity_or_else_the_distance() -> None:
    match = Match(1, "cup", 9)
    found = QueryResult(Verdict(None, 0, 9, 0.25), (match,))
    calibration = Calibration(0.05, 0.1, 5, 0.8, 0.1)
    assert nearness(found, calibration) == pytest.approx(2)  # spreads above the mean of strangers
    found = QueryResult(Verdict(None, 0, 9), (match, replace(match, distance=7)))
    assert nearness(found, None) == nearness(found, calibration) == -7


def test_ranking_for_map_has_all_pictures(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=4, each=10)
    engine = FakeEngine()
    with Gallery(tmp_path / "all.sqlite", engine.model, create=True) as gallery:
        photos = [(photo.label, photo.path) for photo in read_set(tmp_path / "set")]
        enroll_photos(engine, gallery, photos)
        stats = gallery.stats()
        assert stats.pictures == 40 and stats.codes > CANDIDATES
        for _, path in photos[::7]:
            result = Pipeline(engine, gallery, neighbors=40).query(read_photo(path))
            assert len({match.id for match in result.matches}) == len(result.matches) == 40


def test_rows_are_repeatable_and_independent_of_each_other(folder: Path) -> None:
    rows = _judged(folder)
    assert _judged(folder) == rows
    alone = _judged(folder, Protocol(labels=(ALL,), photos=(3,), draws=3, left_out=2))
    assert alone == rows[-1:]


def test_draws_do_not_depend_on_the_layout_of_the_folders(folder: Path, tmp_path: Path) -> None:
    """A manifest that numbers the photos gives the rows of the same photos in label folders."""
    flat = tmp_path / "flat" / "set"
    lines = ["path,label,seq"]
    for number, photo in enumerate(read_set(folder)):
        path = flat / f"{(number * 7) % 20:02}" / photo.path.name  # in another order
        path.parent.mkdir(parents=True)
        shutil.copy(photo.path, path)
        lines.append(f"{path.relative_to(flat)},{photo.label},{number}")
    (flat / "manifest.csv").write_text("\n".join(lines))
    assert _judged(flat) == _judged(folder)


def test_labels_of_the_toy_figures_are_numbered() -> None:
    with (ROOT / "training" / "data" / "lego_minifigures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 329 and len({row["label"] for row in rows}) == 33
    ordered = sorted(rows, key=lambda row: (row["label"], int(row["seq"])))
    by_name = sorted(rows, key=lambda row: (row["label"], Path(row["path"]).name))
    assert ordered == by_name


def test_each_view_is_computed_once(folder: Path) -> None:
    counting = CountingEngine()
    pool = Pool(read_set(folder), 20, 1)
    judge(CachingEngine(counting), pool, SHORT)
    assert 20 < counting.runs <= 20 * 6
    image = pool.image(pool.by_label["label0"][0])
    squares = [preprocess(view, 64) for view in views_of(image)]
    caching = CachingEngine(counting)
    counting.runs = 0
    for square in squares * 2:
        found, expected = caching.embed(square), FakeEngine().embed(square)
        np.testing.assert_array_equal(found.code, expected.code)
        np.testing.assert_array_equal(found.features, expected.features)
        np.testing.assert_array_equal(caching.hash(square), expected.code)
        assert not found.code.flags.writeable
    assert counting.runs == len(squares)


def test_label_with_too_few_photos_is_only_a_stranger(folder: Path) -> None:
    for path in sorted((folder / "label0").iterdir())[1:]:
        path.unlink()
    done = _run("--data", folder, "--photos", "1,5", "--labels", "2,3,4,all", "--draws", 1,
                "--out", "out.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "label label0 has one photo" in done.output
    assert "not measured with 5 photos: labels with more: 0" in done.output
    rows = json.loads(Path("out.json").read_text())["rows"]
    assert [(row["photos"], row["labels"], row["strangers"]) for row in rows] == [
        (1, 2, 6), (1, 3, 1),
    ]  # fmt: skip


def test_several_folders_are_one_set(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "more")
    result = judge_sets(
        FakeEngine(), [folder, tmp_path / "more"], None,
        Protocol(labels=(ALL,), photos=(4,), draws=1, left_out=1),
    )  # fmt: skip
    assert result["set"] == "set + more" and result["all_labels"] == 8


def test_unreadable_photo_is_skipped_and_named(folder: Path) -> None:
    (folder / "label1" / "002.png").write_bytes(b"")
    result = judge_sets(FakeEngine(), [folder], None, SHORT)
    assert result["all_photos"] == 19 and "label1/002.png" in result["skipped"][0]


def test_only_labels_that_training_held_out(folder: Path) -> None:
    rows = [
        f"classes,{'validation' if each.label < 'label2' else 'train'},set,{each.name}"
        for each in read_set(folder)
    ]
    Path("split.csv").write_text("\n".join(["split,part,source,path", *rows]))
    result = judge_sets(FakeEngine(), [folder], None, SHORT, Path("split.csv"))
    assert result["all_labels"] == 2 and len(result["unseen"]) == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "absent"], "absent: not a folder"),
        (["--data", "set", "--strangers", "absent"], "absent: not a folder"),
        (["--data", "set", "--strangers", "set"], "strangers cannot come from the folder"),
        (["--data", "set", "--photos", "one"], '"one" is not a list of numbers'),
        (["--data", "set", "--photos", "1,0"], '"1,0" is not a list of numbers'),
        (["--data", "set", "--labels", "most"], '"most" is not a list of numbers'),
        (["--data", "set", "--photos", "20"], "20 photos per label leave no query of 20"),
        (["--data", "set", "--labels", "9"], "no gallery of this size (labels: 4"),
        (["--data", "one"], "no gallery of this size (labels: 1"),
    ],
)
def test_bad_input_ends_in_one_line(folder: Path, options: list[str], message: str) -> None:
    shutil.copytree(folder / "label0", "one/label0")
    done = _run(*options)
    assert done.exit_code == 3 and message in done.output, done.output
    lines = [line for line in done.output.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1 and lines[0].startswith("error: ")


def test_one_label_is_judged_with_strangers_of_another_folder(folder: Path) -> None:
    shutil.copytree(folder / "label0", "one/label0")
    done = _run("--data", "one", "--strangers", folder, "--photos", "1", "--draws", "1")
    assert done.exit_code == 0 and "20 photos of 4 labels of set" in done.output


def test_page_shows_models_beside_each_other() -> None:
    figures = {name: {"median": 20.04, "lowest": 10, "highest": 30} for name in FIGURES}
    tally = [[0] * 5 + [9, 9, 0, 0]] * 5 + [[6, 5, 5.88, 1, 0.98, 9, 9, 1.3, 3.9]]
    rows = [
        {"photos": 3, "labels": n, "queries": 9, "strangers": 9, "tally": tally, **figures}
        for n in (5, 15)
    ]
    result = {
        "set": "things", "model": "one", "note": "seen by none", "all_photos": 81,
        "all_labels": 15, "protocol": {"draws": 5, "strangers": "others"}, "rows": rows,
    }  # fmt: skip
    page = new_objects([result, {**result, "model": "two", "note": ""}])
    assert "### things" in page and "one: seen by none." in page[3]
    assert "With 3 photos of each of 15 labels, `two` answers 20 %" in page[4]
    assert "`one` names more than 4 % of the strangers in 2 of 2 rows**" in page[4]
    for row in rows:
        row["named"] = {"median": 4.0, "lowest": 0, "highest": 30}
    assert "in no row (at most 4.0 %; in a single draw 30.0 %)" in new_objects([result])[4]
    reliable = page[-3].splitlines()[2:]
    assert reliable == [
        f"| things | `{name}` | 95 to 100 | 14 | 98.0 | 71.4 |" for name in ("one", "two")
    ]
    assert page[-1].splitlines()[2] == "| things | `one` | 2 of 2 | 98.0 | 71.4 | 26.6 | 0.743 |"
    lines = page[5].splitlines()[2:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| 3", str(n), f"`{model}`"] for n in (5, 15) for model in ("one", "two")
    ]
    assert "20.0 (10.0 to 30.0)" in lines[0] and "20.040 (10.000" in lines[0]
    rows[1]["labels"] = 20
    larger = new_objects([result], [{**result, "rows": rows[:1]}])
    assert larger[-1].endswith("things (`one`) 71 % of 7 answers.")
    assert "With 5 draws, `one` (photos x labels): 3 x 5 4.0 (0.0 to 30.0) %" in larger[6]
    for row in rows:
        del row["tally"]
    assert "| things |" not in "".join(new_objects([result])[7:])
    assert new_objects([]) == []


def test_results_belong_to_models_of_this_repository() -> None:
    known = {identify(path)[0] for path in (ROOT / "models").glob("*.onnx")}
    paths = sorted((ROOT / "training" / "results").glob("strangers_*.json"))
    stale = [path.name for path in paths if json.loads(path.read_text())["id"] not in known]
    assert paths and not stale, "run their commands in commands.json again"
