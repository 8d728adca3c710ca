"""The table of the Quantized CNN: contenders, resuming, rows, verdict, errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from training.commands.papers import quantized_cnn as command
from training.files import write_json
from training.models.alexnet import AlexNet, save_network
from training.models.mobilenet_v1 import Backbone
from training.onnx.export import build
from training.papers.compressed.counts import read_counts
from training.papers.compressed.qcnn import cases, table
from training.papers.compressed.qcnn.alexnet import to_layers
from training.papers.compressed.qcnn.codebooks import Setting
from training.papers.compressed.qcnn.judging import first_of, read_photos
from training.papers.compressed.qcnn.layers import run
from training.papers.compressed.qcnn.study import run_all
from training.papers.rows import read_table
from training.tests.conftest import draw_photos, photo

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
TINY = [
    "--settings", "4x8", "--seeds", "1", "--photos", "4", "--runs", "1", "--no-full",
    "--out", "out", "--results", "results", "--model", "net.onnx",
]  # fmt: skip


def save_small_model(path: Path) -> None:
    torch.manual_seed(1)
    backbone = Backbone(0.25).eval()
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((16, backbone.features)).astype(np.float32)
    onnx.save(build(backbone, 64, (weight, -weight.mean(1))), path)


def small_alexnet() -> AlexNet:
    torch.manual_seed(1)
    network = AlexNet(0.125, 67, 16)
    network.eval()
    return network


def test_the_command_writes_a_table_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_photos(tmp_path / "photos", labels=3, each=6)
    save_small_model(tmp_path / "net.onnx")
    save_network(tmp_path / "alexnet.pt", small_alexnet())
    arguments = ["--data", "photos", "--alexnet", "alexnet.pt", *TINY]
    first = CliRunner().invoke(command.main, arguments)
    assert first.exit_code == 0, first.output
    found = read_table(tmp_path / "results" / "quantized_cnn.json")
    assert {row.system for row in found.rows} == set(table.SYSTEMS.values())
    assert {row.setting.split(",")[0] for row in found.rows} == {"mobilenet", "small-alexnet"}
    assert all(0 <= row.values[0] <= 100 for row in found.rows)
    coded = next(row for row in found.rows if row.system == "Quantized CNN")
    whole = next(row for row in found.rows if row.system == "fp32")
    assert 0 < coded.extra["storage_mb"] <= whole.extra["storage_mb"]  # type: ignore[operator]
    assert coded.extra["response_error_corrected"] < coded.extra["response_error"]  # type: ignore[operator]
    assert found.notes[0].startswith("mobilenet: the best Quantized CNN (8 words for 4 channels)")

    def refuse(*_: object) -> None:
        raise AssertionError("a finished run was repeated")

    monkeypatch.setattr("training.papers.compressed.qcnn.study.run_one", refuse)
    again = CliRunner().invoke(command.main, arguments)
    assert again.exit_code == 0, again.output
    assert read_table(tmp_path / "results" / "quantized_cnn.json") == found


def test_the_papers_own_line_stands_beside_alexnet_at_full_size(tmp_path: Path) -> None:
    case = cases.full_alexnet(network=small_alexnet())
    found = run_all([case], (Setting(4, 4, 4, 4),), 1, 2, tmp_path)
    assert [contender.kind for _, contender, _ in found] == ["fp32", "int8", "codewords"]
    one = {"instructions": 2e6, "estimated_ms": 7.0}
    counts = {
        "rpi4": {
            "alexnet/codewords-4x4": one,
            "ONNX Runtime alexnet/int8": {**one, "estimated_ms": 5.0},
        }
    }
    rows = {row.measure: row for row in table.make_rows(found, counts)}
    assert rows["storage (MB)"].published == 12.6
    assert rows["acceleration (times)"].values[0] > 0
    assert rows["time of a picture (s)"].values == [0.007]
    assert rows["storage (MB)"].extra["int8_storage_mb"]
    lines = table.verdict(list(rows.values()))
    assert lines[1].endswith("cortex-a72: 7.0 ms, int8 in ONNX Runtime 5.0 ms.")
    assert lines[2].startswith("AlexNet here, on x86-64: ")


def test_an_alexnet_in_layers_computes_what_torch_computes() -> None:
    network, x = small_alexnet(), torch.randn(2, 3, 67, 67)
    with torch.no_grad():
        wanted = network(x).numpy()
    np.testing.assert_allclose(run(to_layers(network), x.numpy()), wanted, atol=1e-4)


def test_the_verdict_names_the_faster_one() -> None:
    counts = {
        "rpi3": {
            "mobilenet/corrected-codewords-4x8": {"instructions": 1e6, "estimated_ms": 9.0},
            "edge-runtime mobilenet/int8": {"instructions": 1e6, "estimated_ms": 6.0},
        }
    }
    write_json(Path("report.json"), {"targets": {"rpi3": {"counts": counts["rpi3"]}}})
    assert read_counts(Path("report.json")) == counts
    assert read_counts(Path("none.json")) == {}


def test_a_set_is_read_with_a_few_photos_of_each_label(tmp_path: Path) -> None:
    photos = [photo(str(i), "ab"[i % 2]) for i in range(20)]
    assert len(first_of(photos, 3)) == 6
    assert first_of(photos, 0) == photos
    draw_photos(tmp_path / "photos", labels=2, each=10)
    found = read_photos(tmp_path / "photos", 3, 1)
    assert (len(found.database), len(found.queries)) == (6, 2)
    assert "at most 3 photos of a label searched, 1 asked" in found.split


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--settings", "8"], '"8" is not a list of settings'),
        (["--settings", "8x300"], "write 4x128,8x64"),
        (["--no-full"], "nothing to do"),
        (["--data", "none", "--no-full"], "none"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(command.main, arguments)
    assert done.exit_code not in (0, 1)
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_finished_runs_are_lines_of_json(tmp_path: Path) -> None:
    run_all([cases.full_alexnet(network=small_alexnet())], (Setting(4, 4, 4, 4),), 1, 1, tmp_path)
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"]["kind"] for line in lines] == ["fp32", "int8", "codewords"]
