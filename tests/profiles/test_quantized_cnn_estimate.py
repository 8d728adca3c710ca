"""Counting a network of codewords on an emulated board: exact counts, estimates, resuming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from profiles.estimate import quantized_cnn


def write_network(path: Path, outputs: int) -> None:
    """A fully connected layer of 8 inputs: 2 sub-spaces of 4, with 4 codewords each."""
    rng = np.random.default_rng(0)
    head = [0x4E4E4351, 1, 1, 8, 1, 0, 0, 0]
    layer = [2, 8, outputs, 1, 1, 0, 1, 1, 1, 3, 4, 4, 0, 0, 0, 0]
    floats = rng.standard_normal(outputs + 2 * 4 * 4).astype("<f4")  # bias and codewords
    indices = rng.bytes(-(-2 * outputs * 2 // 32) * 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.array(head + layer, "<i4").tobytes() + floats.tobytes() + indices)


def test_networks_are_counted_once_and_get_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("qemu-aarch64", "aarch64-linux-gnu-gcc"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    write_network(tmp_path / "runs" / "small" / "codewords-4x4.qcnn", 32)
    out = tmp_path / "report.json"
    arguments = [str(tmp_path / "runs"), "rpi4", "--out", str(out)]
    done = CliRunner().invoke(quantized_cnn.main, arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    one = report["targets"]["rpi4"]["counts"]["small/codewords-4x4"]
    assert 500 < one["instructions"] < 50_000
    assert one["estimated_ms"] >= 0
    own = report["targets"]["rpi4"]["counts"]["edge-runtime mobilenet/int8"]
    assert own["instructions"] > 1e8
    rival = report["targets"]["rpi4"]["counts"]["ncnn alexnet/fp32"]
    assert rival["published_ms"] == 139.34

    def refuse(*_: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(quantized_cnn, "count", refuse)
    again = CliRunner().invoke(quantized_cnn.main, arguments)
    assert again.exit_code == 0, again.output
    assert json.loads(out.read_text()) == report


def test_a_changed_network_is_counted_again(tmp_path: Path) -> None:
    file = tmp_path / "small" / "codewords.qcnn"
    write_network(file, 32)
    first = quantized_cnn.digest(file)
    write_network(file, 33)
    assert quantized_cnn.digest(file) != first


def test_an_empty_folder_is_one_clear_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(quantized_cnn.main, [str(tmp_path), "--out", "report.json"])
    assert done.exit_code not in (0, 1)
    assert "no networks (run python -m training papers quantized-cnn)" in done.output
