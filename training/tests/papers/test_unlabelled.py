"""`python -m training papers unlabelled`: a table of codes with and without labels."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from training.__main__ import main
from training.papers.rows import read_table
from training.papers.unlabelled import METHODS, SYSTEMS
from training.tests.conftest import ROOT, draw_photos


def test_a_set_is_judged_and_a_second_run_computes_nothing() -> None:
    draw_photos(Path("set"), labels=4, each=6)
    words = ["papers", "unlabelled", "--data", "set", "--bits", "8", "--seeds", "1", "--epochs",
             "2", "--model", str(ROOT / "models" / "mobilenet_v1_general.onnx"),
             "--out", "out", "--results", "results"]  # fmt: skip
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    found = read_table(Path("results/unlabelled.json"))
    assert len(found.rows) == 2 * len(METHODS) == 2 * len(SYSTEMS)
    assert all(row.values and 0 <= row.values[0] <= 100 for row in found.rows)
    supervised = [row.mean for row in found.rows if row.system == "gallery refit"]
    assert supervised == [100, 100]
    lines = Path("out/runs.jsonl").read_text()
    assert len(lines.splitlines()) == len(METHODS)
    assert {json.loads(line)["key"]["set"] for line in lines.splitlines()} == {"set"}
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0 and "computing features" not in again.stderr
    assert Path("out/runs.jsonl").read_text() == lines
