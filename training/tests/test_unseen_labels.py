"""Labels that are kept out of training and only enrolled: fitting without them, evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from training.commands import build_model, evaluate
from training.data.photo_sets import DataError, read_set
from training.data.pixel_cache import open_cache
from training.data.splits import TRAIN_SPLITS, held_out_labels, hold_out, read_split, save_split
from training.eval.metrics import open_set_episodes
from training.fit.recipe import Recipe
from training.fit.trainer import train
from training.hash_layer.radius import unseen_labels
from training.models.mobilenet_v1 import Backbone
from training.tests.conftest import ROOT, draw_photos, photo

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"


def _store(folder: Path, hold: str = "classes") -> set[str]:
    """Write split.csv as `python -m training train` does; returns the held-out labels."""
    photos = [each for each in read_set(folder) if each.split in TRAIN_SPLITS]
    kept, held = hold_out(photos, hold, 5)
    save_split(Path("split.csv"), hold, {"train": kept, "validation": held, "query": []})
    return {each.label for each in held}


def _run(command: object, *options: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in options])  # type: ignore[arg-type]


def test_unseen_labels_are_left_out_of_the_layer_and_evaluated_separately(tiny: Path) -> None:
    hidden = _store(tiny)
    done = _run(build_model.main, "--data", tiny, "--model", MODEL, "--method", "relational",
                "--passes", 0, "--hold", "split.csv",
                "--out", ".", "--evidence", "s.json")  # fmt: skip
    assert done.exit_code == 0, done.output
    evidence = json.loads(Path("s.json").read_text())
    digest = hashlib.sha256(Path("split.csv").read_bytes()).hexdigest()
    assert evidence["hold"] == {"labels": len(hidden), "split_sha256": digest}
    assert evidence["labels"] == 18 - len(hidden)
    done = _run(evaluate.main, "--data", tiny, "--model", MODEL.name, "--unseen", "split.csv",
                "--out", "out.json", "--page", "page")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "tiny / unseen" in done.output and "tiny, open set unseen: area" in done.output
    result = json.loads(Path("out.json").read_text())
    assert result["unseen"] == evidence["hold"]
    entry = result["sets"]["tiny"]
    row, official = entry["protocols"]["unseen"], entry["protocols"]["official"]
    queries = [each for each in read_set(tiny) if each.split not in TRAIN_SPLITS]
    assert row["queries"] == sum(each.label in hidden for each in queries)
    assert row["database"] == official["database"] and "kept out of training" in row["split"]
    measured = entry["open_set_unseen"]
    assert measured["radius"] == evidence["open_set"]["radius"] == result["radius"]
    assert measured["auroc"] == pytest.approx(evidence["open_set"]["auroc"], abs=0.01)
    assert "unseen" in Path("page/index.html").read_text()


def _lines(*lines: str) -> bytes:
    return "\n".join(["split,part,source,path", *lines]).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "split.csv: No such file"),
        (b"", "its first line is not split,part,source,path"),
        (b"path,label\na,b", "its first line is not"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
        (_lines(), "lists no photos"),
        (_lines("classes,train,set"), "split.csv:2: not a line of the same split"),
        (_lines("classes,train,set,a", "random,train,set,b"), "split.csv:3: not a line"),
        (_lines("random,validation,set,label0/000.png"), 'its split is "random"'),
        (_lines("classes,validation,other,label0/000.png"), "none of its 1 held-out photos"),
        (_lines("classes,train,set,label0/000.png"), "none of its 0 held-out photos"),
        (_lines("classes,train,set,label0/000.png", "classes,validation,set,label0/001.png"),
         "label label0 has photos in both parts"),
    ],
)  # fmt: skip
def test_file_that_holds_out_no_label_is_one_line(content: bytes | None, message: str) -> None:
    draw_photos(Path("set"))
    if content is not None:
        Path("split.csv").write_bytes(content)
    done = _run(evaluate.main, "--data", "set", "--model", MODEL, "--unseen", "split.csv")
    assert done.exit_code == 3 and message in done.output, done.output
    assert done.output.startswith("error: ") and done.output.count("\n") == 1


def test_folder_in_place_of_the_file_is_one_line() -> None:
    draw_photos(Path("set"))
    done = _run(evaluate.main, "--data", "set", "--model", MODEL, "--unseen", "set")
    assert done.exit_code == 3 and "Is a directory" in done.output


def test_stored_split_is_read_again() -> None:
    photos = [photo(name, name[0], source=source) for name in ("a1", "a,2") for source in "xy"]
    save_split(Path("split.csv"), "classes", {"train": photos[:1], "validation": photos[1:]})
    assert read_split(Path("split.csv")) == (
        "classes", {"train": {("x", "a1")}, "validation": {("y", "a1"), ("x", "a,2"), ("y", "a,2")}}
    )  # fmt: skip


def test_labels_are_held_out_by_source_and_path() -> None:
    """The same path in another set names another photo."""
    photos = [photo("p/1", f"{source}/p", source=source) for source in "xy"]
    save_split(Path("split.csv"), "classes", {"train": photos[:1], "validation": photos[1:]})
    assert held_out_labels(Path("split.csv"), photos) == {"y/p"}


def test_set_without_a_query_of_a_held_out_label_is_noted() -> None:
    draw_photos(Path("set"))
    rows = [f"label{i}/{j:03}.png,label{i},{'test' if j == 5 and i else 'train'}"
            for i in range(3) for j in range(6)]  # fmt: skip
    Path("set/manifest.csv").write_text("\n".join(["path,label,split", *rows]))
    Path("split.csv").write_bytes(_lines("classes,validation,set,label0/000.png"))
    done = _run(evaluate.main, "--data", "set", "--model", MODEL, "--unseen", "split.csv")
    assert done.exit_code == 0 and "note: set: no query has a held-out label" in done.output
    assert "set / unseen" not in done.output


def _build_model(*options: object) -> Result:
    return _run(build_model.main, "--data", "set", "--passes", 0, "--out", ".", *options)


def test_held_out_labels_must_be_unseen_by_the_backbone() -> None:
    draw_photos(Path("set"), labels=10)
    photos = read_set(Path("set"))
    labels = np.array([int(each.label[5:]) for each in photos], np.int64)
    recipe = Recipe(bits=16, stages=((32, 1),), batch=8, frozen=0)
    names = sorted({each.label for each in photos})
    backbone = Backbone(0.25)
    train(open_cache(photos), labels, names, backbone, recipe, Path("run"), lambda _: None)
    held = _store(Path("set"))
    options = ("--checkpoint", "run/checkpoint.pt", "--size", 32)
    done = _build_model(*options, "--hold", "split.csv")
    assert done.exit_code == 3 and f"trained on {len(held)} of its held-out" in done.output
    done = _build_model(*options, "--hold", "split.csv", "--unseen", "run/checkpoint.pt")
    assert done.exit_code == 2 and "not both" in done.output


@pytest.mark.parametrize(
    ("labels", "edit", "message"),
    [
        (5, lambda text: text, "it holds out a single label"),
        (10, lambda text: text.replace("classes", "random"), 'its split is "random"'),
    ],
)
def test_build_model_refuses_a_split_without_a_radius(
    labels: int, edit: Callable[[str], str], message: str
) -> None:
    draw_photos(Path("set"), labels=labels, each=5)
    _store(Path("set"))
    Path("split.csv").write_text(edit(Path("split.csv").read_text()))
    done = _build_model("--model", MODEL, "--hold", "split.csv")
    assert done.exit_code == 3 and message in done.output and done.output.count("\n") == 1


def test_radius_is_measured_on_labels_that_training_holds_out() -> None:
    photos = [photo(f"{label}{i}", label) for label in "abcdefghij" for i in range(3)]
    held = {each.label for each in hold_out(photos, "classes", 5)[1]}
    one = min(held)
    assert unseen_labels(photos, photos) == held  # as in a training run
    assert unseen_labels(photos, [each for each in photos if each.label == one]) == held
    assert unseen_labels(photos, [each for each in photos if each.label not in held]) == set()
    assert unseen_labels([each for each in photos if each.label in "abc"], photos) == set()
    lone = [photo(source, source, source=source) for source in "wxyz"]
    assert unseen_labels(lone, lone) == set()  # half of one label rounds to none


def test_open_set_without_a_query_is_an_error() -> None:
    codes, labels = np.zeros((2, 1), np.uint64), np.arange(2)
    with pytest.raises(Exception, match="needs queries of its labels"):
        open_set_episodes((codes, labels), (codes, labels + 2), labels, 64)
    with pytest.raises(DataError, match="No such file"):
        read_split(Path("absent.csv"))
