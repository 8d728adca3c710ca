from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_runtime.engine import open_engine
from edge_runtime.image.decode import read_photo
from edge_runtime.image.preprocess import preprocess
from edge_runtime.model import identify
from training.cli import report_errors
from training.commands import build_model, evaluate, finetune, quantize, set_stats
from training.commands.pages import accuracy_page
from training.commands.pages import model_card as card_command
from training.data.photo_sets import read_set
from training.data.pixel_cache import PhotoReader, open_cache
from training.eval.retrieval import CodeSet, Hasher, retrieve
from training.fit.recipe import Recipe
from training.fit.trainer import train
from training.models.mobilenet_v1 import Backbone
from training.onnx import quantize_qdq
from training.reports import accuracy, model_card
from training.tests.conftest import ROOT, draw_photos, photo

MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"


def test_evaluate_on_tiny(tiny: Path, tmp_path: Path) -> None:
    options = ["--model", MODEL, "--data", tiny, "--out", "out.json", "--page", "page"]
    done = CliRunner().invoke(evaluate.main, [str(each) for each in options])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out.json").read_text())
    row = result["sets"]["tiny"]["protocols"]["official"]
    assert row["queries"] == 116 and row["split"]
    assert 60 < row["map100"] <= 100 and abs(row["map100"] - row["map100_tie_aware"]) < 3
    assert result["sets"]["tiny"]["open_set"]["auroc"] > 0.7
    assert (tmp_path / "page" / "index.html").stat().st_size > 1000


def test_evaluation_skips_and_names_a_corrupt_photo(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    (tmp_path / "set" / "label1" / "002.png").write_bytes(b"")
    rows = [f"label{i}/{j:03}.png,label{i},{'test' if j == 5 else 'train'}"
            for i in range(3) for j in range(6)]  # fmt: skip
    (tmp_path / "set" / "manifest.csv").write_text("\n".join(["path,label,split", *rows]))
    options = ["--model", str(MODEL), "--data", "set", "--out", "out.json"]
    done = CliRunner().invoke(evaluate.main, options)
    assert done.exit_code == 0 and "label1/002.png" in done.output
    assert json.loads((tmp_path / "out.json").read_text())["sets"]["set"]["skipped"]


def test_file_that_is_not_a_model_ends_in_one_line(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    done = CliRunner().invoke(evaluate.main, ["--model", "broken.onnx", "--data", "set"])
    assert done.exit_code == 4 and done.output.count("\n") == 1
    assert done.output.startswith("error: broken.onnx")


def test_codes_are_the_runtimes_own(tiny: Path) -> None:
    photos = read_set(tiny)[:5]
    codes = Hasher(MODEL).hash_all(PhotoReader(photos))
    engine = open_engine(MODEL)
    for each, code in zip(photos, codes, strict=True):
        np.testing.assert_array_equal(engine.hash(preprocess(read_photo(each.path), 224)), code)


def test_database_is_shuffled_so_that_its_order_does_not_matter() -> None:
    photos = [photo(str(i), label) for label in "ab" for i in range(50)]
    side = CodeSet(photos, np.zeros((100, 1), np.uint64))  # all at distance 0
    ranking = retrieve(side, side.where(lambda each: each.label == "a"))
    assert 0.3 < ranking.relevant[:, :50].mean() < 0.7


@pytest.mark.parametrize("method", ["refit", "contrastive"])
def test_finetune_keeps_the_shipped_model_where_it_cannot_be_beaten(
    tmp_path: Path, method: str
) -> None:
    draw_photos(tmp_path / "set", labels=10, each=1)
    for path in list((tmp_path / "set").glob("*/000.png")):  # any model is perfect on copies
        for number in range(1, 4):
            path.with_name(f"{number:03}.png").write_bytes(path.read_bytes())
    options = f"--data set --passes 0 --method {method} --out own"
    done = CliRunner().invoke(finetune.main, options.split())
    assert done.exit_code == 0, done.output
    assert '"kept": "shipped"' in done.output and "keep the shipped model" in done.output
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["split.csv"]


def test_trained_backbone_becomes_a_model(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=10)
    rows = [f"label{i}/{j:03}.png,label{i},{'test' if j == 5 else 'train'}"
            for i in range(10) for j in range(6)]  # fmt: skip
    (tmp_path / "set" / "manifest.csv").write_text("\n".join(["path,label,split", *rows]))
    photos = [each for each in read_set(tmp_path / "set") if each.split == "train"]
    labels = np.array([int(each.label[5:]) for each in photos], np.int64)
    recipe = Recipe(bits=16, stages=((32, 1),), batch=8, frozen=0)
    names = [f"label{i}" for i in range(10)]
    run = tmp_path / "run"
    train(open_cache(photos), labels, names, Backbone(0.25), recipe, run, lambda _: None)
    options = "--data set --checkpoint run/checkpoint.pt --bits 16 --size 32 --passes 1 --out ."
    done = CliRunner().invoke(build_model.main, [*options.split(), "--evidence", "done.json"])
    assert done.exit_code == 0, done.output
    evidence = json.loads((tmp_path / "done.json").read_text())
    assert evidence["parity"]["bits_differing"] <= 1  # one on the threshold
    assert evidence["backbone"]["epochs_done"] == 1
    assert Hasher(tmp_path / evidence["model"]).info.bits == 16


def test_shipped_model_gets_a_layer_of_another_length(tiny: Path, tmp_path: Path) -> None:
    bits = 16
    shown = ["--data", tiny, "--model", MODEL, "--bits", bits, "--method", "relational",
             "--passes", 0, "--out", ".", "--evidence", "built.json"]  # fmt: skip
    done = CliRunner().invoke(build_model.main, [str(each) for each in shown])
    assert done.exit_code == 0, done.output
    evidence = json.loads((tmp_path / "built.json").read_text())
    assert evidence["parity"]["bits_differing"] == 0
    assert evidence["backbone"]["id"] == identify(MODEL)[0]
    path = tmp_path / evidence["model"]
    shown = ["--model", path, "--data", tiny, "--out", "int8.onnx", "--photos", 16]
    done = CliRunner().invoke(quantize.main, [str(each) for each in shown])
    assert done.exit_code == 0, done.output
    for name, model in (("fp32", path), ("int8", tmp_path / "int8.onnx")):
        shown = ["--model", model, "--data", tiny, "--out", f"{name}.json"]
        done = CliRunner().invoke(evaluate.main, [str(each) for each in shown])
        assert done.exit_code == 0, done.output
        result = json.loads((tmp_path / f"{name}.json").read_text())
        assert result["bits"] == bits
        assert result["sets"]["tiny"]["protocols"]["official"]["map100"] > 60
    options = "--evaluation fp32.json --small int8.json --evidence built.json --out CARD.md"
    done = CliRunner().invoke(card_command.main, options.split())
    assert done.exit_code == 0, done.output
    text = (tmp_path / "CARD.md").read_text()
    assert f"Converts a photo to {bits} bits" in text and f"[1, {bits}]" in text
    assert "`tiny` (204 photos of 18 labels); the set's own split." in text
    assert "which a second hash layer has not seen." in text
    for word in ("GroceryStoreDataset", "the building", "groceries", "averaging"):
        assert word not in text


def test_card_of_the_shipped_photos_keeps_its_text() -> None:
    evidence = accuracy.load("build_model")
    results = (accuracy.load("shipped"), accuracy.load("shipped_int8"))
    text = model_card.card(results[0], evidence, results[1], None)
    noted = {**evidence, "sets": model_card.OURS, "split": "the set's own split"}
    assert model_card.card(results[0], noted, results[1], None) == text
    assert "GroceryStoreDataset train + val (MIT) and the gallery part of ie-tower" in text
    other = {**noted, "sets": {"grocery": {"photos": 20, "labels": 4}}}  # the same name only
    text = model_card.card(results[0], other, results[1], None)
    assert "GroceryStoreDataset" not in text and "`grocery` (20 photos of 4 labels)" in text
    assert "were not used in training. " in text


def test_layer_needs_exactly_one_backbone() -> None:
    done = CliRunner().invoke(build_model.main, ["--data", "set", "--model", "a", "--weights", "b"])
    assert done.exit_code == 2 and "give one of" in done.output


def test_int8_model_is_small_and_agrees(tiny: Path, tmp_path: Path) -> None:
    options = ["--model", MODEL, "--data", tiny, "--out", "int8.onnx", "--photos", "16"]
    done = CliRunner().invoke(quantize.main, [str(each) for each in options])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output.splitlines()[-1])
    assert report["bytes"] <= quantize_qdq.MAX_BYTES and report["equal_bits"] > 0.8
    info = Hasher(tmp_path / "int8.onnx").info
    assert info.name.endswith("_int8")
    # It gives features, but its codes are those of no earlier file.
    assert (info.features, info.same_codes_as) == (1024, ())


def test_stats_and_sheet(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    options = "--data set --sheet sheet.png --ceilings ceilings.json"
    done = CliRunner().invoke(set_stats.main, options.split())
    assert done.exit_code == 0 and "18 photos of 3 labels" in done.output
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert json.loads((tmp_path / "ceilings.json").read_text()) == {"set": {"official": 100.0}}


@pytest.mark.parametrize("name", ["sheet.foo", "sheet"])
def test_contact_sheet_of_unknown_format_is_refused_before_any_work(
    tmp_path: Path, name: str
) -> None:
    done = CliRunner().invoke(set_stats.main, ["--data", "absent", "--sheet", name])
    assert done.exit_code == 3 and done.output.count("\n") == 1
    assert done.output.startswith(f"error: {name}: unknown image format")


def test_results_belong_to_the_shipped_model() -> None:
    assert accuracy.load("shipped")["id"] == identify(MODEL)[0]


def test_documents_match_the_results() -> None:
    done = CliRunner().invoke(accuracy_page.main, ["--check"])
    assert done.exit_code == 0, done.output


def _evaluated(*options: str) -> Result:
    options = ("--model", str(MODEL), "--data", "set", "--out", "out.json", *options)
    return CliRunner().invoke(evaluate.main, options)


def _manifest(folder: Path, split: Callable[[int], str], labels: int = 3, each: int = 6) -> None:
    rows = [f"label{i}/{j:03}.png,label{i},{split(j)}" for i in range(labels) for j in range(each)]
    (folder / "manifest.csv").write_text("\n".join(["path,label,split", *rows]))


@pytest.mark.parametrize("unreadable", [[5], [0, 1, 2, 3, 4]])
def test_no_readable_photo_in_database_or_queries_ends_in_one_line(
    tmp_path: Path, unreadable: list[int]
) -> None:
    draw_photos(tmp_path / "set")
    for label, index in itertools.product(range(3), unreadable):
        (tmp_path / "set" / f"label{label}" / f"{index:03}.png").write_bytes(b"")
    _manifest(tmp_path / "set", lambda index: "test" if index == 5 else "train")
    done = _evaluated()
    assert done.exit_code == 3 and "no readable" in done.output
    assert not (tmp_path / "out.json").exists()


def test_one_label_is_evaluated_without_the_open_set(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=1)
    done = _evaluated("--page", "page")
    assert done.exit_code == 0 and "left out" in done.output
    assert "open_set" not in json.loads((tmp_path / "out.json").read_text())["sets"]["set"]


def test_queries_follow_the_manifest(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    _manifest(tmp_path / "set", lambda index: "Testing" if index > 3 else "training")
    assert _evaluated().exit_code == 0
    result = json.loads((tmp_path / "out.json").read_text())
    row = result["sets"]["set"]["protocols"]["official"]
    assert (row["queries"], row["database"]) == (6, 12)


def test_split_is_stored_and_named_beside_every_result(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=2, each=5)
    assert _evaluated("--page", "page").exit_code == 0
    result = json.loads((tmp_path / "out.json").read_text())
    row = result["sets"]["set"]["protocols"]["official"]
    assert row["split"] == "a contiguous fifth of each label held out"
    stored = (tmp_path / "out.split.csv").read_bytes()
    assert stored == (tmp_path / "page" / "split.csv").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == result["split_sha256"] == row["split_sha256"]
    lines = stored.decode().splitlines()
    assert lines[0] == "split,part,source,path" and len(lines) == 1 + 10
    assert sum(line.startswith("official,queries,set,label1/") for line in lines) == 1
    (tmp_path / "set" / "label0" / "000.png").unlink()
    assert _evaluated().exit_code == 0
    again = json.loads((tmp_path / "out.json").read_text())
    assert again["split_sha256"] != result["split_sha256"]


def test_official_split_is_named_as_it_was_made(tmp_path: Path) -> None:
    """It does not carry the name of another set that has the same columns."""
    draw_photos(tmp_path / "set")
    rows = [f"label{i}/{j:03}.png,label{i},{'test' if j > 3 else 'train'},1,"
            f"{'query' if j % 2 else 'gallery'}" for i in range(3) for j in range(6)]  # fmt: skip
    head = "path,label,split,distinct,interleaved"
    (tmp_path / "set" / "manifest.csv").write_text("\n".join([head, *rows]))
    assert _evaluated().exit_code == 0
    found = json.loads((tmp_path / "out.json").read_text())["sets"]["set"]["protocols"]
    assert found["official"]["split"] == "the set's own split"
    assert found["distinct"]["split"].startswith("the set's own split, queries of spots")
    assert len({row["split_sha256"] for row in found.values()}) == len(found) == 4


def test_plain_folder_gets_another_length_and_int8(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=5, each=5)
    options = f"--data set --model {MODEL} --bits 16 --method relational --passes 0 --out ."
    done = CliRunner().invoke(build_model.main, options.split())
    assert done.exit_code == 0 and "fifth of each label" in done.output, done.output
    options = "--data set --model mobilenet_v1_hash16.onnx --out int8.onnx"
    done = CliRunner().invoke(quantize.main, options.split())
    assert done.exit_code == 0 and "calibrating on 20 photos" in done.output, done.output
    assert "equal_bits" not in done.output
    assert Hasher(tmp_path / "int8.onnx").info.bits == 16
    done = CliRunner().invoke(finetune.main, ["--data", "set", "--model", "int8.onnx"])
    assert done.exit_code == 4 and "give the fp32 one" in done.output


@pytest.mark.parametrize("options", ["--method foo", "--bits 0"])
def test_unknown_method_or_length_is_wrong_usage(options: str) -> None:
    done = CliRunner().invoke(build_model.main, ["--data", "set", *options.split()])
    assert done.exit_code == 2 and "Traceback" not in done.output


def test_radius_needs_four_labels(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set")
    done = CliRunner().invoke(
        build_model.main, ["--data", "set", "--model", str(MODEL), "--passes", "0"]
    )
    assert done.exit_code == 3 and "3 labels, 4 are needed" in done.output


def test_finetune_states_the_outcome(tmp_path: Path) -> None:
    report = {
        "shipped_map100": 45.4, "new_map100": 98.3, "queries": 40, "kept": "new",
        "shipped_strangers_named": 2.5, "new_strangers_named": 1.25, "strangers": 80,
        "shipped_right": 90.0, "new_right": 95.0, "reason": "better",
    }  # fmt: skip
    own = tmp_path / "own.onnx"
    figures = (
        "MAP@100 45.4 -> 98.3 on 40 held-out photos; strangers named 2.5 % -> 1.25 % of 80;"
        " right answers 90.0 % -> 95.0 %"
    )
    sentence = finetune.verdict(report, own)
    assert sentence == f"better: {figures}; set EDGE_RUNTIME_MODEL={own} and enroll again"
    own.touch()
    report |= {"kept": "shipped", "reason": "not better: fewer are found"}
    sentence = finetune.verdict(report, own)
    assert sentence.startswith(f"not better: fewer are found: {figures}; keep the shipped model")
    assert "earlier run" in sentence


def test_failing_disk_ends_in_one_line(tmp_path: Path) -> None:
    draw_photos(tmp_path / "set", labels=1)
    (tmp_path / "page").touch()  # a file where the folder should be
    done = _evaluated("--page", "page")
    assert done.exit_code == 6 and "Traceback" not in done.output
    assert done.output.splitlines()[-1].startswith("error: page")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EMFILE])
def test_any_disk_error_is_one_line(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    @report_errors
    def command() -> None:
        raise OSError(code, os.strerror(code), "somewhere")

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 6
    assert capsys.readouterr().err.startswith("error: somewhere: ")
